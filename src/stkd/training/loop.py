"""The training loop, of one student or of several beside each other: the same weights if it was interrupted or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import islice

from ..core.errors import Interrupted
from ..data.loader import TrainLoader
from .group import Group
from .interrupt import StopSignals
from .learner import Diverged, Learner
from .progress import Bar

__all__ = ["train"]


def train(
    learners: Sequence[Learner],
    loader: TrainLoader,
    *,
    progress: bool = True,
    on_epoch: Callable[[Learner], object] | None = None,
) -> None:
    """Train to the last epoch, the teacher answering once for all.

    A student that diverges leaves the others alone; its `lost` says why. A student that is ahead of the others, since
    an earlier session was killed between two checkpoints, waits for them.

    Args:
        learners: One or more, with the same batches and epochs.
        loader: The batches.
        progress: Show a progress bar.
        on_epoch: Called with each student that has ended an epoch, scored and kept; what it raises ends the training.

    Raises:
        Interrupted: A signal asked to stop; checkpoints were written.
    """
    _Loop(learners, loader, progress, on_epoch).run()


class _Loop:
    def __init__(
        self,
        learners: Sequence[Learner],
        loader: TrainLoader,
        progress: bool,
        on_epoch: Callable[[Learner], object] | None,
    ) -> None:
        self.learners, self.loader, self.progress, self.on_epoch = learners, loader, progress, on_epoch
        self.config = learners[0].config

    def run(self) -> None:
        config, steps = self.config, self.loader.steps
        title = config.out.name if len(self.learners) == 1 else f"{len(self.learners)} students"
        epoch, step = min(learner.position for learner in self.learners)
        with (
            StopSignals() as signals,
            Bar(title, config.epochs, steps, epoch * steps + step, shown=self.progress) as bar,
            Group(self.learners) as group,
        ):
            while (live := self._live(self.learners)) and (at := min(live, key=_position).state.epoch) < config.epochs:
                self._train_epoch([learner for learner in live if learner.state.epoch == at], group, signals, bar)

    def _train_epoch(self, learners: Sequence[Learner], group: Group, signals: StopSignals, bar: Bar) -> None:
        epoch, start = min(learner.position for learner in learners)
        group.begin_epoch()
        for learner in learners:
            learner.begin_epoch()
        saved = time.monotonic()
        loader = self.loader.epoch(epoch, start)
        while batches := list(islice(loader, group.batches(len(learners)))):
            group.make_steps(batches, learners)
            if signals.received is not None:
                self._stop(signals.received, learners)
            if not (learners := self._live(learners)):
                return
            step = batches[-1].step + 1
            if bar.due():
                shown = learners[0]
                bar.update(epoch * self.loader.steps + step, shown.state.meter.means(), shown.images_per_s)
            if time.monotonic() - saved > 60 * self.config.checkpoint_minutes > 0 and step < self.loader.steps:
                self._each(learners, _keep)
                saved = time.monotonic()
        self._each(learners, Learner.settle)
        self._each(self._live(learners), Learner.end_epoch)
        if self.on_epoch is not None:
            self._each(self._live(learners), self.on_epoch)

    def _stop(self, signum: int, learners: Sequence[Learner]) -> None:
        self._each(learners, _keep)
        if not (kept := self._live(learners)):
            return
        epoch, step = min(learner.position for learner in kept)
        where = ", ".join(str(learner.dir.last) for learner in kept)
        raise Interrupted(
            signum,
            f"stopped at epoch {epoch + 1}, step {step}; {'checkpoints' if len(kept) > 1 else 'checkpoint'} written to "
            f"{where}; run the same command again to go on",
        )

    def _each(self, learners: Sequence[Learner], action: Callable[[Learner], object]) -> None:
        """Do something with each student as if it were alone."""
        for learner in learners:
            try:
                with learner.stream:
                    action(learner)
            except Diverged as error:
                learner.lost = error

    @staticmethod
    def _live(learners: Sequence[Learner]) -> list[Learner]:
        return [learner for learner in learners if learner.lost is None]


def _position(learner: Learner) -> tuple[int, int]:
    return learner.position


def _keep(learner: Learner) -> None:
    learner.settle()
    learner.save()
