"""How far a comparison is: a bar on a terminal, and a message for each run that has ended."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ...preflight import warn_once
from ...runs.directory import read_preflight, read_result
from .grid import Task

__all__ = ["Progress"]

log = logging.getLogger(__name__)


class Progress:
    """Shows the bar while it is entered.

    Args:
        total: Number of runs.
        done: How many of them were finished before.
    """

    def __init__(self, total: int, done: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        hidden = not sys.stderr.isatty()
        self._bar = Bar(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=hidden, transient=True)
        self._task = self._bar.add_task("runs", total=total, completed=done)
        self._total, self._ended = total, done
        if 0 < done < total:
            log.info("%d of %d runs were finished before", done, total)

    def ended(self, task: Task, why: str | None) -> None:
        """Report a run that has ended; `why` it failed, None if it is finished."""
        self._ended += 1
        self._bar.update(self._task, completed=self._ended)
        where = f"[{self._ended}/{self._total}] {task.title}"
        result = read_result(task.config.out) if why is None else None
        if result is None:
            log.warning("%s: failed: %s", where, why)
            return
        top1 = (result.get("test") or result.get("val") or {}).get("top1")
        accuracy = "" if top1 is None else f"{top1:.2%}, "
        log.info("%s: %s%.0f s", where, accuracy, result["seconds"])
        for finding in (read_preflight(task.config.out) or {}).get("findings", []):
            if finding["level"] == "warning":
                warn_once(finding["message"])  # another process made the run

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
