"""The training loop, of one student or of several beside each other: the same weights if it was interrupted or not."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from ..core.errors import Ended, Interrupted, StkdError
from ..core.watch import Watch
from ..data.loader import Batch, TrainLoader
from .epoch_log import EpochLog
from .learner import Diverged, Learner
from .progress import Bar
from .signals import StopSignals

__all__ = ["train"]


def train(
    learners: Sequence[Learner],
    loader: TrainLoader,
    *,
    progress: bool = True,
    on_epoch: Callable[[Learner], object] | None = None,
    watch: Watch | None = None,
) -> None:
    """Train to the last epoch, the teacher answering once for all.

    A student that diverges leaves the others alone; its `lost` says why. A student that is ahead of the others, since
    an earlier session was killed between two checkpoints, waits for them.

    Args:
        learners: One or more, with the same batches and epochs.
        loader: The batches.
        progress: Show a progress bar, or where there is no terminal a line an epoch in the log.
        on_epoch: Called with each student that has ended an epoch, scored and kept; what it raises ends the training.
        watch: The other processes; None where there are none.

    Raises:
        Interrupted: A signal asked to stop, this process or another one; checkpoints were written.
        Ended: Another process has ended; checkpoints were written where that is possible.
        StkdError: An image file is broken; checkpoints were written.
    """
    config, steps = learners[0].config, loader.steps
    title = config.out.name if len(learners) == 1 else f"{len(learners)} students"
    epoch, step = min(learner.position for learner in learners)
    with (
        StopSignals(several=watch is not None) as signals,
        Bar(title, config.epochs, steps, epoch * steps + step, shown=progress) as bar,
    ):
        said = EpochLog(title, config.epochs, epoch) if progress and not bar.shown else None
        while (live := _live(learners)) and (epoch := min(learner.state.epoch for learner in live)) < config.epochs:
            due = [learner for learner in live if learner.state.epoch == epoch]
            _train_epoch(due, loader, signals, bar, watch)
            _each(due, Learner.settle)
            with _kept(due):
                _each(due, Learner.end_epoch)
            if said is not None:
                said.say(_live(due))
            if on_epoch is not None:
                _each(due, on_epoch)
        # of several processes one hears of the others a call later
        signum, rank = max(_asked_to_stop(signals, watch) for _ in range(2))
        if signum and (kept := _live(learners)):
            raise Interrupted(signum, f"stopped{_by(signum, rank)} after the last epoch; {_written(kept)}")
    if watch is not None:
        watch.world.settle()


def _train_epoch(
    learners: Sequence[Learner], loader: TrainLoader, signals: StopSignals, bar: Bar, watch: Watch | None
) -> None:
    epoch, start = min(learner.position for learner in learners)
    for learner in learners:
        learner.begin_epoch()
    saved, interval = time.monotonic(), 60 * learners[0].config.checkpoint_minutes
    for batch in _batches(loader, epoch, start, learners):
        with _kept_when_others_end(learners, watch):
            _make_steps(batch, learners)
            signum, rank = _asked_to_stop(signals, watch)
        if signum:
            _stop(signum, rank, learners)
        if not (live := _live(learners)):
            return
        if bar.due():
            bar.update(epoch * loader.steps + batch.step + 1, live[0].state.meter.means(), live[0].images_per_s)
        if time.monotonic() - saved > interval > 0 and batch.step + 1 < loader.steps:
            _each(live, _keep)
            saved = time.monotonic()


def _batches(loader: TrainLoader, epoch: int, start: int, learners: Sequence[Learner]) -> Iterator[Batch]:
    """The batches of an epoch; what cannot be read ends it after checkpoints were written."""
    with _kept(learners):
        yield from loader.epoch(epoch, start)


@contextmanager
def _kept(learners: Sequence[Learner]) -> Iterator[None]:
    """Write checkpoints where what is done meets bad input, such as a broken file, before the error goes on."""
    try:
        yield
    except StkdError:
        _each(learners, _keep)
        raise


def _make_steps(batch: Batch, learners: Sequence[Learner]) -> None:
    """The steps of those who have not made them in an earlier session."""
    due = [learner for learner in _live(learners) if learner.state.step <= batch.step]
    if len(due) == 1:
        steps = [(due[0], partial(due[0].make_step, batch))]
    else:
        taught = next((learner.step.teach(batch) for learner in due if learner.student.teacher is not None), None)
        answers = [taught if learner.student.teacher is not None else None for learner in due]
        steps = [(one, partial(one.step.learn, batch, own)) for one, own in zip(due, answers, strict=True)]
    for learner, step in steps:
        _each([learner], partial(_count_step, step=step))


def _count_step(learner: Learner, step: Callable[[], None]) -> None:
    step()
    learner.step_made()


def _asked_to_stop(signals: StopSignals, watch: Watch | None) -> tuple[int, int | None]:
    """The signal that asks to stop, 0 for none, and which of several processes was sent it: all hear it in one step."""
    own = signals.received or 0
    if watch is None:
        return own, None
    signum, rank = watch.world.agree(own, watch.world.rank if own else -1)
    return signum, rank


def _stop(signum: int, rank: int | None, learners: Sequence[Learner]) -> None:
    _each(learners, _keep)
    if not (kept := _live(learners)):
        return
    epoch, step = min(learner.position for learner in kept)
    raise Interrupted(signum, f"stopped{_by(signum, rank)} at epoch {epoch + 1}, step {step}; {_written(kept)}")


def _by(signum: int, rank: int | None) -> str:
    return "" if rank is None else f" by {signal.Signals(signum).name} to rank {rank}"


def _written(kept: Sequence[Learner]) -> str:
    files = ", ".join(str(learner.run.last) for learner in kept)
    return f"{'checkpoints' if len(kept) > 1 else 'checkpoint'} written to {files}; run the same command again to go on"


@contextmanager
def _kept_when_others_end(learners: Sequence[Learner], watch: Watch | None) -> Iterator[None]:
    """Write a checkpoint of the last whole step where a process ends in the middle of one, this one or another.

    Raises:
        Ended: Another one did; in place of what the libraries say of the connection.
    """
    if watch is None:
        yield
        return
    (learner,) = learners
    back = learner.step_undone()
    try:
        yield
    except Exception as error:
        ending = None if isinstance(error, StkdError) else watch.behind(error)
        written = watch.world.rank == 0 and back()
        if written:
            _keep(learner)
        if ending is None:
            raise
        if not written:
            raise Ended(ending.code, f"{ending}; the last checkpoint is kept") from None
        epoch, step = learner.position
        raise Ended(ending.code, f"{ending}; epoch {epoch + 1}, step {step}: {_written(learners)}") from None


def _keep(learner: Learner) -> None:
    learner.settle()
    learner.save()


def _each(learners: Sequence[Learner], action: Callable[[Learner], object]) -> None:
    """Do something with each student that trains on, as if it were alone."""
    for learner in _live(learners):
        try:
            with learner.stream:
                action(learner)
        except Diverged as error:
            learner.lost = error


def _live(learners: Sequence[Learner]) -> list[Learner]:
    return [learner for learner in learners if learner.lost is None]
