"""Files that are damaged: everything that is read again, cut and with one flipped bit, and what becomes of it.

A teacher, a student, a cache, an export, a tuning study and decoded images are made of digits and small pictures. Then
each of their files is damaged in a copy, and what reads it is called. A fault is

- refused: one line and exit code 2;
- mended: the same answer as without it, after a line that names the file;
- equal: the same answer without a line, since the file was not needed or was made anew;
- left out: an answer without what the file says, after a line that names it;
- silent: another answer and no word of it;
- lost: anything else, such as a traceback.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from stkd.cli.main import main as stkd
from stkd.cli.messages import messages_shown
from stkd.core.errors import StkdError
from stkd.data import open_data
from stkd.data.pictures import pictures_of
from stkd.runs.evaluation import current_evaluation
from stkd.runs.exports import read_exports

SMALL = ["--data", "digits", "--train-images", "64", "--batch-size", "32", "--epochs", "2", "--precision", "32"]
SMALL += ["--accelerator", "cpu", "--compile", "none", "--preflight", "off"]


PLACES = {"cut": 200, "flipped": 200}
"""In each file, at random."""


@dataclass(frozen=True)
class Subject:
    """Something that is read again.

    Attributes:
        folder: Where it lies.
        files: Names of its files, relative to the folder.
        ask: Reads it in a copy of the folder; returns an exit code and what the answer is made of.
    """

    folder: Path
    files: Sequence[str]
    ask: Callable[[Path], tuple[int, Any]]


def command(*words: object) -> tuple[int, str]:
    """A command of stkd in this process: its exit code and output."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = stkd([str(word) for word in words])
    return code, out.getvalue()


def library(call: Callable[[], Any]) -> tuple[int, Any]:
    """As a command that calls the library would answer."""
    try:
        with messages_shown():
            return 0, call()
    except StkdError as error:
        print(f"stkd: error: {error}", file=sys.stderr)
        return 2, None


def again(run: Path) -> tuple[int, Any]:
    """The command of a run once more: its weights, and its metrics without what a clock says."""
    code, _ = command("distill", "--recipe", run / "config.yaml", "--out", run)
    return code, (_weights(run), _metrics(run)) if code == 0 else None


def _weights(run: Path) -> bytes:
    return (run / "student.safetensors").read_bytes()


def _metrics(run: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_s")} for row in rows]


def subjects(work: Path) -> dict[str, Subject]:
    """Make everything that is damaged later."""
    teacher, student, cache = work / "teacher", work / "student", work / "cache"
    picture = work / "picture.png"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(picture)
    taught = ["--teacher-weights", teacher, "--teacher-engine", "torch", "--student", "cnn2", *SMALL]
    _made("train", "--model", "cnn4", *SMALL, "--out", teacher)
    _made("distill", *taught, "--val-fraction", "0.2", "--out", student)
    _made("cache", *taught, "--out", cache)
    _made("export", student, "--to", "onnx")
    current_evaluation(student)
    stopped = Path(shutil.copytree(student, work / "stopped"))  # as it was before its end was written
    for name in ("result.json", "student.safetensors"):
        (stopped / name).unlink()
    tuned = ["tune", *taught, "--search", "alpha", "--trials", "2"]
    _made(*tuned, "--out", work / "study")
    photos = work / "photos"
    for c in ("a", "b"):
        (photos / c).mkdir(parents=True)
        for i in range(8):
            Image.fromarray(rng.integers(0, 256, (90, 100, 3), dtype=np.uint8)).save(photos / c / f"{i}.png")

    def images(folder: Path) -> Any:
        os.environ["STKD_CACHE"] = str(folder)
        data = open_data(f"folder:{photos}", image_size=72)
        kept = pictures_of(data.train.decoded)  # type: ignore[arg-type]
        assert kept is not None
        pixels = [kept[i].pixels(3).numpy().tobytes() for i in range(len(data.train))]
        kept.tell()
        return np.asarray(data.train.images).tobytes(), pixels

    def from_cache(folder: Path) -> tuple[int, Any]:
        out = folder.with_name("of-cache")
        shutil.rmtree(out, ignore_errors=True)
        code, _ = command("distill", "--student", "cnn2", *SMALL, "--teacher-cache", folder, "--out", out)
        return code, _weights(out) if code == 0 else None

    def search(folder: Path) -> tuple[int, Any]:
        code, _ = command(*tuned, "--out", folder)
        return code, yaml.safe_load((folder / "best.yaml").read_text()) if code == 0 else None

    images(work / "decoded")
    entries = sorted(file.name for file in (work / "decoded").glob("*.[bn]*"))
    begun = ["config.yaml", "env.json", "metrics.jsonl", "manifest.json"]
    checkpoints = [f"checkpoints/{name}" for name in ("last.pt", "previous.pt", "manifest.json")]
    ended = ["config.yaml", "result.json", "metrics.jsonl", "manifest.json"]
    seen = ["config.yaml", "student.safetensors", "manifest.json"]
    shards = ["header.json", "epoch-00000.npy", "manifest.json"]

    def answer_of(name: str) -> Callable[[Path], tuple[int, Any]]:
        return lambda run: command("predict", run / name, picture, "--json")

    return {
        "run, looked at": Subject(student, seen, answer_of("")),
        "run, its command again": Subject(student, ended, again),
        "run, goes on": Subject(stopped, begun, again),
        "run, goes on from its checkpoint": Subject(stopped, checkpoints, again),
        "best weights": Subject(student, [best := "checkpoints/best.safetensors"], answer_of(best)),
        "evaluation": Subject(student, ["evaluation.json"], lambda run: library(lambda: _scores(run))),
        "export": Subject(student, [file := "exports/student.onnx"], answer_of(file)),
        "record of an export": Subject(student, ["exports/onnx.json"], lambda run: library(lambda: read_exports(run))),
        "cache of a teacher": Subject(cache, shards, from_cache),
        "decoded images": Subject(work / "decoded", entries, lambda folder: library(lambda: images(folder))),
        "tuning study": Subject(work / "study", ["study.db"], search),
    }


def _made(*words: object) -> None:
    if command(*words)[0] != 0:
        raise SystemExit(f"failed: stkd {' '.join(map(str, words))}")


def _scores(run: Path) -> Any:
    found = current_evaluation(run)
    return {name: found[name] for name in ("top1", "nll", "confusion", "similarity")}


def damaged(content: bytes, kind: str, rng: random.Random) -> bytes:
    """A file that is cut at a place, or has one flipped bit."""
    place = rng.randrange(len(content))
    if kind == "cut":
        return content[:place]
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


@contextlib.contextmanager
def copied(folder: Path, work: Path) -> Iterator[Path]:
    """A copy of a folder, always in the same place."""
    copy = work / "copy" / folder.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy)
    yield copy


def outcome(ask: Callable[[Path], tuple[int, Any]], folder: Path, file: Path, right: Any) -> str:
    """What becomes of a fault."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            code, answer = ask(folder)
    except Exception:
        traceback.print_exc()
        return "lost"
    lines = [line for line in said.getvalue().splitlines() if not line.startswith("stkd: note: ")]
    if code == 2 and len(lines) == 1:
        return "refused"
    named = any(file.name in line for line in lines)
    if code != 0:
        return "lost"
    if answer == right:
        return "mended" if named else "equal"
    return "left out" if named else "silent"


def count(subject: Subject, work: Path, share: float) -> dict[str, Counter[str]]:
    """What becomes of damage: for each file and kind of damage how often which outcome.

    Args:
        subject: What is damaged.
        work: A folder for copies of it.
        share: Of the places.
    """
    with copied(subject.folder, work) as copy:
        code, right = subject.ask(copy)
        assert code == 0, subject.folder
    found = {}
    for file in subject.files:
        for kind, places in PLACES.items():
            rng, counts = random.Random(f"{file} {kind}"), Counter[str]()
            for _ in range(round(share * places)):
                with copied(subject.folder, work) as copy:
                    content = (copy / file).read_bytes()
                    (copy / file).write_bytes(damaged(content, kind, rng))
                    counts[outcome(subject.ask, copy, copy / file, right)] += 1
            shown = "decoded " + file.partition("-")[2] if subject.folder.name == "decoded" else file
            found[f"{shown}, {kind}"] = counts
    return found
