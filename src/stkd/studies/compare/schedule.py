"""Which run is next, and what has become of the others."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ...core.errors import Interrupted
from ...runs.directory import read_result
from ...training.signals import StopSignals
from .plan import Task
from .workers import Workers

__all__ = ["Failures", "run_all"]

Failures = dict[Path, str]
"""Run directory to the reason in one line."""

_LOOK = 0.2  # seconds between looks for a signal
_RETRY = 1.0  # seconds between looks whether another process has let go of a run


class _Queue:
    """Runs in order; one that needs a teacher waits for it, one that another process is making comes last."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self.waiting = [task for task in tasks if not task.done]
        self.failures: Failures = {}
        self._open = {task.config.out for task in self.waiting}
        self._look_at: dict[Path, float] = {}

    def take(self) -> Task | None:
        """The next run that can be made now."""
        for place, task in enumerate(self.waiting):
            if task.after not in self._open and self._look_at.get(task.config.out, 0.0) <= time.monotonic():
                return self.waiting.pop(place)
        return None

    def put_back(self, task: Task) -> bool:
        """Take a run up again later; returns whether this is the first time."""
        first = task.config.out not in self._look_at
        self._look_at[task.config.out] = time.monotonic() + _RETRY
        self.waiting.append(task)
        return first

    def end(self, task: Task, why: str | None) -> list[Task]:
        """Note the outcome of a run; returns it, and those that cannot be made any more."""
        out = task.config.out
        self._open.discard(out)
        if why is None:
            return [task]
        self.failures[out] = why
        lost = [t for t in self.waiting if t.after == out]
        self.waiting = [t for t in self.waiting if t.after != out]
        for other in lost:
            self._open.discard(other.config.out)
            self.failures[other.config.out] = f"its teacher failed: {why}"
        return [task, *lost]


def run_all(tasks: Iterable[Task], workers: Workers) -> Failures:
    """Make all runs that are not finished.

    Args:
        tasks: In order of preference; a run whose `after` is among them begins when that one has ended.
        workers: Who makes them; closed afterwards.

    Returns:
        The runs that failed.

    Raises:
        Interrupted: A signal asked to stop; each run under way has written a checkpoint.
    """
    tasks = list(tasks)
    queue = _Queue(tasks)
    running: dict[Path, Task] = {}
    ended = len(tasks) - len(queue.waiting)
    try:
        with StopSignals() as signals, _Display(len(tasks), ended) as display:
            while queue.waiting or running:
                while len(running) < workers.size and (task := queue.take()) is not None:
                    running[task.config.out] = task
                    workers.start(task.config)
                if not running:
                    time.sleep(_LOOK)  # all that is left is being made by other processes
                for config, failure in workers.wait(_LOOK) if running else ():
                    task = running.pop(config.out)
                    if failure is not None and failure.held:
                        if queue.put_back(task):
                            display.note(f"{task.title}: another process is making it; its result is waited for")
                    else:
                        for known in queue.end(task, None if failure is None else failure.why):
                            ended += 1
                            display.ended(known, queue.failures.get(known.config.out))
                if signals.received is not None:
                    display.note("stopping; the runs under way write their checkpoints")
                    workers.stop()
                    raise Interrupted(
                        signals.received,
                        f"stopped after {ended} of {len(tasks)} runs; run the same command again to go on",
                    )
    finally:
        workers.close()
    return queue.failures


class _Display:
    """A bar where somebody watches a terminal, and a line for each run that has ended."""

    def __init__(self, total: int, done: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            *columns, TimeRemainingColumn(), console=console, disable=not sys.stderr.isatty(), transient=True
        )
        self._task = self._bar.add_task("runs", total=total, completed=done)
        self._total, self._ended = total, done
        if done < total and done:
            self.note(f"{done} of {total} runs were finished before")

    def ended(self, task: Task, why: str | None) -> None:
        """Say what came of a run."""
        self._ended += 1
        self._bar.update(self._task, completed=self._ended)
        result = read_result(task.config.out) if why is None else None
        if result is not None:
            top1 = (result.get("test") or result.get("val") or {}).get("top1")
            said = f"{'' if top1 is None else f'{top1:.2%}, '}{result['seconds']:.0f} s"
        else:
            said = f"failed: {why}"
        self.note(f"[{self._ended}/{self._total}] {task.title}: {said}")

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._bar.console.print(text, markup=False)

    def __enter__(self) -> _Display:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
