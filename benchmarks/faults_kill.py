"""Processes that are killed, or stopped by a signal, at every kind of write; then the same command again.

Each process is forked from this one, which has imported all but computed nothing, so that it has one thread. A clock of
theirs tells one second for every span of time: apart from that nothing may differ.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib
import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults_points import OPERATIONS, Point, watched
from faults_views import differences, stop_clocks, view

import stkd.cli.main  # noqa: F401
from stkd.core.errors import StkdError
from stkd.runs.verification import verify

cli = sys.modules["stkd.cli.main"]  # the package has a function of this name

__all__ = ["Kills", "Scenario", "keep_parser"]

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_PATIENCE = 240  # seconds until a process hangs
_WITH_THREADS = ("onnxruntime", "openvino", "pyarrow", "stkd.data.parquet_files")  # not imported before forking


@dataclass(frozen=True)
class Scenario:
    """A command whose processes are ended.

    Attributes:
        words: The command.
        faults: How many.
        before: Commands that make what it begins with, in the same folder.
    """

    words: Sequence[object]
    faults: int
    before: Sequence[Sequence[object]] = ()


@dataclass
class End:
    """How a process ended.

    Attributes:
        code: Exit code; that of a signal that ended it is negative.
        said: Lines of its stderr, without notes and warnings.
        reached: Its points.
        modules: What it imported.
    """

    code: int
    said: list[str]
    reached: list[Point] = field(default_factory=list)
    modules: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Fault:
    """Something that happens to a process at a point.

    Attributes:
        number: Of the point, from 0.
        point: Its kind.
        signum: The signal.
    """

    number: int
    point: Point
    signum: signal.Signals

    @property
    def kind(self) -> str:
        """For the table."""
        return f"{'killed' if self.signum == signal.SIGKILL else 'stopped'} {self.point.moment} {self.point.operation}"


def keep_parser() -> None:
    """Make the parser of the command line once for all commands."""
    cli._parser = functools.cache(cli._parser)
    cli._parser()


class Kills:
    """A place in which processes are ended.

    Args:
        work: A new folder.
    """

    def __init__(self, work: Path) -> None:
        self.now, self._work = work / "now", work
        work.mkdir(parents=True, exist_ok=True)
        keep_parser()

    def count(self, scenario: Scenario, faults: int) -> dict[str, Counter[str]]:
        """What becomes of the faults of a scenario: for each kind of fault how often which outcome."""
        begun = self._begun(scenario)
        self._begin(begun)
        whole = self.run(scenario.words)
        if whole.code != 0:
            raise SystemExit(f"{scenario.words} failed: {whole.said}")
        self._import(whole.modules)
        right = view(self.now)
        self._begin(begun)
        again = self.run(scenario.words)
        if again.reached != whole.reached or differences(view(self.now), right) != ([], []):
            raise SystemExit(f"{scenario.words} is not the same twice: {differences(view(self.now), right)}")
        found: dict[str, Counter[str]] = {}
        for fault in _spread(whole.reached, faults):
            self._begin(begun)
            outcome, why = self._outcome(scenario, fault, right)
            found.setdefault(fault.kind, Counter())[outcome] += 1
            if why:
                print(f"{scenario.words[0]}: {fault}: {outcome}: {why}", file=sys.stderr, flush=True)
        return found

    def _begun(self, scenario: Scenario) -> Path | None:
        """A folder with what a scenario begins with."""
        self._begin(None)
        for words in scenario.before:
            if (end := self.run(words)).code != 0:
                raise SystemExit(f"{words} failed: {end.said}")
            self._import(end.modules)
        begun = self._work / "begun"
        shutil.rmtree(begun, ignore_errors=True)
        return Path(shutil.copytree(self.now, begun))

    def _begin(self, begun: Path | None) -> None:
        shutil.rmtree(self.now, ignore_errors=True)
        if begun is None:
            self.now.mkdir()
        else:
            shutil.copytree(begun, self.now)

    def _import(self, names: Sequence[str]) -> None:
        """Import what processes imported, so that the next ones need not."""
        sys.modules["pyarrow"] = None  # type: ignore[assignment]  # it starts a thread; pandas does without
        for name in names:
            if name not in sys.modules and not name.startswith(_WITH_THREADS):
                with contextlib.suppress(Exception):
                    importlib.import_module(name)
        del sys.modules["pyarrow"]

    def _outcome(self, scenario: Scenario, fault: Fault, right: dict[str, Any]) -> tuple[str, str]:
        first = self.run(scenario.words, fault)
        if fault.signum == signal.SIGKILL:
            well = first.code == -signal.SIGKILL
        else:
            well = (first.code, len(first.said)) == (128 + fault.signum, 1)
        if not well:
            return "lost", f"ended with {first.code}: {first.said}"
        if fault.signum != signal.SIGKILL and (left := [file.name for file in self.now.rglob(".*.part")]):
            return "lost", f"left over: {left}"
        if wrong := [line for line in _damaged(self.now) if not line.startswith("missing cache/epoch-")]:
            return "lost", f"verify, after that: {wrong}"  # a cache that is not whole lacks shards
        then = self.run(scenario.words)
        if then.code == 2 and len(then.said) == 1:
            return "refused", then.said[0]
        if then.code != 0:
            return "lost", f"the same command again: {then.code}: {then.said}"
        if wrong := _damaged(self.now):
            return "lost", f"verify, in the end: {wrong}"
        names, changed = differences(view(self.now), right)
        if names:
            return "lost", f"left over or missing: {names}"
        if changed:
            return "silent", f"another content: {changed}"
        return "equal", ""

    def run(self, words: Sequence[object], fault: Fault | None = None) -> End:
        """A command in a process of its own.

        Args:
            words: The command.
            fault: What happens to it.
        """
        told, said = self._work / "told.json", self._work / "said.txt"
        told.unlink(missing_ok=True)
        assert len(os.listdir("/proc/self/task")) == 1, "a thread was started before forking"
        if (process := os.fork()) == 0:
            os._exit(_run([str(word) for word in words], fault, self.now, told, said))
        _, status = os.waitpid(process, 0)
        code = os.waitstatus_to_exitcode(status)
        lines = [line for line in said.read_text().splitlines() if not line.startswith(("stkd: note", "stkd: warning"))]
        if not told.exists():
            return End(code, lines)
        facts = json.loads(told.read_text())
        return End(code, lines, [Point(*point) for point in facts["reached"]], facts["modules"])


def _run(words: list[str], fault: Fault | None, folder: Path, told: Path, said: Path) -> int:
    """What a forked process does; its exit code."""
    signal.alarm(_PATIENCE)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a script it is ignored
    sys.argv = ["stkd", *words]
    for number, file in ((1, Path(os.devnull)), (2, said)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    before, reached = set(sys.modules), list[Point]()

    def reach(point: Point) -> None:
        reached.append(point)
        if fault is not None and len(reached) == fault.number + 1:
            os.kill(os.getpid(), fault.signum)

    code = 0
    stop_clocks()
    try:
        with watched(folder, reach):
            try:
                cli.console()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
            atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stderr.flush()
    new = [name for name in sys.modules if name not in before]
    told.write_text(json.dumps({"reached": reached, "modules": new}))
    return code


def _damaged(folder: Path) -> list[str]:
    """What `stkd verify` says of a folder."""
    try:
        return [f"{found} {file.relative_to(folder)}" for file, found in verify(folder).items() if found != "right"]
    except StkdError:  # nothing lies there yet
        return []


def _spread(points: Sequence[Point], faults: int) -> list[Fault]:
    """Faults spread evenly over points of all kinds, as many kills as signals."""
    kinds = sorted(range(len(points)), key=lambda n: (OPERATIONS.index(points[n].operation), points[n].moment, n))
    each = min(faults // 2, len(kinds))
    killed = [kinds[i * len(kinds) // each] for i in range(each)]
    stopped = [kinds[(2 * i + 1) * len(kinds) // (2 * each)] for i in range(each)]
    signals = [SIGNALS[i % len(SIGNALS)] for i in range(each)]
    of_signals = [Fault(n, points[n], signum) for n, signum in zip(stopped, signals, strict=True)]
    return [*(Fault(n, points[n], signal.SIGKILL) for n in killed), *of_signals]
