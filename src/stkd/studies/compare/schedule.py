"""Making the runs of a comparison: which is next, and which have failed."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from pathlib import Path

from ...core.errors import Interrupted
from ...training.signals import StopSignals
from .grid import Task
from .progress import Progress
from .workers import Workers

__all__ = ["Failures", "run_all"]

log = logging.getLogger(__name__)

Failures = dict[Path, str]
"""Run directory to the reason in one line."""

_LOOK = 0.2  # seconds between looks for a signal
_RETRY = 1.0  # seconds between looks whether another process still makes a run


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
        """Try a run again later; returns whether this is the first time."""
        first = task.config.out not in self._look_at
        self._look_at[task.config.out] = time.monotonic() + _RETRY
        self.waiting.append(task)
        return first

    def end(self, task: Task, why: str | None) -> list[Task]:
        """Record the outcome of a run; returns it, and the runs that cannot be made without it."""
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
        tasks: In the order in which to make them; a run whose `after` is among them begins when that one has ended.
        workers: Makes them; closed afterwards.

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
        with StopSignals() as signals, Progress(len(tasks), ended) as progress:
            while queue.waiting or running:
                while len(running) < workers.size and (task := queue.take()) is not None:
                    running[task.config.out] = task
                    workers.start(task.config, task.engines)
                if not running:
                    time.sleep(_LOOK)  # all that is left is being made by other processes
                for config, failure in workers.wait(_LOOK) if running else ():
                    task = running.pop(config.out)
                    if failure is not None and failure.held:
                        if queue.put_back(task):
                            log.info("%s: waiting for another process that is making it", task.title)
                    else:
                        for known in queue.end(task, None if failure is None else failure.why):
                            ended += 1
                            progress.ended(known, queue.failures.get(known.config.out))
                if signals.received is not None:
                    log.info("stopping; the runs under way write their checkpoints")
                    workers.stop()
                    raise Interrupted(
                        signals.received,
                        f"stopped after {ended} of {len(tasks)} runs; run the same command again to go on",
                    )
    finally:
        workers.close()
    return queue.failures
