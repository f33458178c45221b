"""The progress bar; nothing where nobody watches a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["Bar"]

_EVERY = 0.5  # seconds between updates; each one waits for the device


class Bar:
    """Steps of a whole run, with loss, accuracy, images per second and the time left.

    Args:
        title: Shown in front.
        epochs: Of the run.
        steps: Per epoch.
        done: Steps made before, by a run that is resumed.
        shown: Whether to show it at all.
    """

    def __init__(self, title: str, epochs: int, steps: int, done: int = 0, *, shown: bool = True) -> None:
        self.title, self.epochs, self.steps = title, epochs, steps
        self.shown = shown and sys.stderr.isatty()
        self._due = time.monotonic() + _EVERY
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not self.shown,
            transient=True,
        )
        self._task = self._progress.add_task(title, total=epochs * steps, completed=done, facts="")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def due(self) -> bool:
        """Whether it is time for an update."""
        return self.shown and time.monotonic() >= self._due

    def update(self, step: int, means: dict[str, float], images_per_s: float) -> None:
        """Show where the run stands.

        Args:
            step: Steps made, over all epochs.
            means: Loss and accuracy of the epoch so far.
            images_per_s: Of the epoch so far.
        """
        self._due = time.monotonic() + _EVERY
        facts = f"loss {means['loss']:.3f}  acc {means['accuracy']:.1%}  {images_per_s:,.0f} images/s"
        epoch = min(self.epochs, step // self.steps + 1)
        self._progress.update(
            self._task, completed=step, facts=facts, description=f"{self.title}  epoch {epoch}/{self.epochs}"
        )
