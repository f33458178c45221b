"""Damaged and hostile input for everything that reads files of others: no crash, no hang, nothing executed.

    python benchmarks/fuzz.py --inputs 80000 --result results/fuzz.json

With atheris installed (`pip install atheris`) inputs are grown towards code that was not reached yet, else they are
drawn by changing bytes of valid files. Each reader runs in a process of its own. It may return or refuse, with the
error that it documents; anything else is a crash, more than ten seconds are a hang, and starting a program,
opening a socket or touching a file that was not handed to it is an execution. Input that does one of these is kept in
the folder that `--keep` names. Eighty thousand inputs for each of the readers take about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

from common import write_result

_SECONDS = 10
_MEMORY_MB = 4096
_LONGEST = 1 << 16
_CACHED = 50  # decoded images that are kept

_PROGRAMS = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "subprocess.Popen",
    "pty.spawn",
)
_CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.chmod", "shutil.rmtree")


def guard(folder: Path, reading: Event) -> None:
    """From here on this process ends when it starts a program, opens a socket, or changes files outside of a folder.

    Args:
        folder: Where files may change.
        reading: Set while a reader is at work; nothing else is looked at.
    """

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if not reading.is_set():
            return
        changed = event in _CHANGES or (event == "open" and _writes(arguments))
        elsewhere = changed and not str(arguments[0]).startswith((str(folder), "/dev/null"))
        if event in _PROGRAMS or event.startswith("socket.") or (elsewhere and isinstance(arguments[0], (str, bytes))):
            print(f"executed: {event} {arguments!r}", file=sys.stderr, flush=True)
            os._exit(99)

    sys.addaudithook(hook)


def _writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    return any(letter in "wax+" for letter in mode or "") or bool((flags or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


def changed(seeds: Sequence[bytes], inputs: int, seed: int) -> Iterator[bytes]:
    """Valid contents with bytes flipped, cut out, repeated, and mixed among each other."""
    draw = random.Random(seed)
    for _ in range(inputs):
        content = bytearray(draw.choice(seeds))
        for _ in range(draw.choice((1, 1, 2, 4, 16))):
            at, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
            match draw.randrange(6):
                case 0 if content:
                    content[min(at, len(content) - 1)] ^= 1 << draw.randrange(8)
                case 1:
                    del content[at : at + draw.choice((1, 4, 64))]
                case 2:
                    content[at:at] = draw.choice(
                        (b"\x00", b"\xff" * 8, b"{", b"[", b"9" * 20, b"nan", b"\n", b"'", b":")
                    )
                case 3:
                    content[at:at] = content[at : min(end, at + 64)]
                case 4:
                    other = draw.choice(seeds)
                    content[at:end] = other[at:end]
                case 5 if draw.random() < 0.2:
                    del content[at:]
        yield bytes(content[:_LONGEST])


def one_reader(name: str, inputs: int, seed: int, keep: Path) -> None:
    """Give a reader its inputs, and end the process at the first that it does not stand."""
    try:
        import atheris
    except ImportError:
        atheris = None
    if atheris is not None:
        with atheris.instrument_imports(include=["stkd"], enable_loader_override=False):
            from fuzz_readers import READERS
    else:
        from fuzz_readers import READERS
    logging.disable(logging.CRITICAL)
    reader = READERS[name]
    memory = Path("/dev/shm")  # noqa: S108, a folder of our own is made there
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        folder, cache = Path(place) / "read", Path(place) / "cache"
        folder.mkdir()
        os.environ["STKD_CACHE"] = str(cache)
        seeds = reader.seeds(Path(place))
        file, reading = folder / reader.file, Event()

        def read(content: bytes) -> None:
            if cache.is_dir() and len(os.listdir(cache)) > _CACHED:
                shutil.rmtree(cache)
            file.write_bytes(content)
            reading.set()
            try:
                reader.read(file)
            except reader.refuses as error:
                if not str(error):
                    raise AssertionError("refused without a word") from error
            finally:
                reading.clear()

        for content in seeds:
            reader.read(_written(file, content))  # loads what is loaded late
        guard(Path(place), reading)
        if atheris is None:
            for content in changed(seeds, inputs, seed):
                (keep / f"last-{name.replace(' ', '-')}").write_bytes(content)
                read(content)
            print(f"Done {inputs} runs")
            return
        corpus = Path(place) / "corpus"
        corpus.mkdir()
        for number, content in enumerate(seeds):
            (corpus / str(number)).write_bytes(content)
        limits = [f"-timeout={_SECONDS}", f"-rss_limit_mb={_MEMORY_MB}", f"-max_len={_LONGEST}"]
        artefacts = f"-artifact_prefix={keep}/{name.replace(' ', '-')}-"
        words = [sys.argv[0], f"-runs={inputs}", f"-seed={seed + 1}", *limits, artefacts, "-verbosity=1", str(corpus)]
        atheris.Setup(words, read)
        atheris.Fuzz()


def _written(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def outcome(name: str, inputs: int, seed: int, keep: Path) -> dict[str, Any]:
    """Run a reader's process to its end, and what became of it."""
    command = [
        sys.executable,
        __file__,
        "--reader",
        name,
        "--inputs",
        str(inputs),
        "--seed",
        str(seed),
        "--keep",
        str(keep),
    ]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    said = done.stdout + done.stderr
    ran = re.search(r"Done (\d+) ", said)
    units = re.findall(r"^#(\d+)", said, re.MULTILINE)
    coverage = re.findall(r"cov: (\d+)", said)
    found = {
        "inputs": int(ran[1]) if ran else int(units[-1]) if units else 0,
        "crashes": int(not ran and done.returncode != 99 and "ALARM" not in said),
        "hangs": int("ALARM" in said),
        "executions": int(done.returncode == 99),
        "reached": int(coverage[-1]) if coverage else None,
        "seconds": round(time.monotonic() - began),
    }
    if not ran:
        found["said"] = said.strip().splitlines()[-30:]
    return found


def main() -> None:
    """Fuzz all readers, or one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=80_000, help="for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="readers at the same time")
    parser.add_argument("--only", default="", help="readers whose name contains this")
    parser.add_argument("--keep", type=Path, default=Path("runs/fuzz"), help="folder of what goes wrong")
    parser.add_argument("--result", type=Path, help="result file")
    parser.add_argument("--reader", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.keep.mkdir(parents=True, exist_ok=True)
    if args.reader:
        one_reader(args.reader, args.inputs, args.seed, args.keep.resolve())
        return
    from fuzz_readers import READERS

    from stkd.runs.environment import environment

    names = [name for name in READERS if args.only in name]
    with ThreadPoolExecutor(args.jobs) as pool:
        found = dict(zip(names, pool.map(lambda n: outcome(n, args.inputs, args.seed, args.keep), names), strict=True))
    totals = {what: sum(one[what] for one in found.values()) for what in ("inputs", "crashes", "hangs", "executions")}
    print(json.dumps({"total": totals, "readers": found}, indent=1))
    if args.result:
        write_result(args.result, {"environment": environment(), "seed": args.seed, "total": totals, "readers": found})
    sys.exit(any(totals[what] for what in ("crashes", "hangs", "executions")))


if __name__ == "__main__":
    main()
