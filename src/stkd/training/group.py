"""The next steps of students that learn from the same answers of the teacher, one after the other or side by side."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch

from ..data.loader import Batch
from .learner import Diverged, Learner
from .randomness import Stream
from .side_by_side import SideBySide
from .speed import student_macs

__all__ = ["Group"]


_SMALL = 4e9
"""Multiply-accumulates a core, of one forward pass of a batch, up to which side by side is faster.

Two of resnet8, resnet20 or resnet8x4 (0.4, 1.3 and 5.7 of these billions) on a core each took 21, 11 and 2 % less time
than one after the other on both. Each student at work needs memory.
"""


class Group:
    """Makes the steps of students; one that diverges leaves the others alone, and its `lost` says why.

    On a CPU in bf16 small students' steps are made side by side. In float32 a student among others ends with the bits
    of its single run, for which it needs all cores, as there. Methods that look at features want those of one batch at
    a time.

    Args:
        learners: All who will ever be in it.
    """

    def __init__(self, learners: Sequence[Learner]) -> None:
        self._cores = _side_by_side(learners)
        self._quiet = set[Learner]()
        if self._cores is not None:
            for learner in learners:
                learner.speed["threads"] = self._cores.threads

    def __enter__(self) -> Group:
        return self

    def __exit__(self, *_: object) -> None:
        if self._cores is not None:
            self._cores.close()

    def batches(self, students: int) -> int:
        """How many batches that many students want at a time."""
        return 1 if self._cores is None else self._cores.batches(students)

    def begin_epoch(self) -> None:
        """See anew who draws random numbers: from here on losses may be others."""
        self._quiet.clear()

    def make_steps(self, batches: Sequence[Batch], learners: Sequence[Learner]) -> None:
        """The steps of those who have not made them in an earlier session.

        Args:
            batches: The next ones.
            learners: Who trains on.
        """
        steps: dict[Learner, list[Callable[[], None]]] = {learner: [] for learner in learners}
        for batch in batches:
            due = [learner for learner in learners if learner.state.step <= batch.step]
            if len(due) == 1 and self._cores is None:
                steps[due[0]].append(partial(due[0].make_step, batch))
                continue
            taught = next((learner.step.teach(batch) for learner in due if learner.step.teacher is not None), None)
            for learner in due:
                steps[learner].append(partial(learner.step.learn, batch, taught if learner.step.teacher else None))
        if self._cores is None:
            for learner, own in steps.items():
                for step in own:
                    _make(learner, step, learner.stream)
        else:
            self._make_on(self._cores, steps)

    def _make_on(self, cores: SideBySide, steps: dict[Learner, list[Callable[[], None]]]) -> None:
        # torch has one stream of random numbers for all threads: whoever draws from it must be alone
        in_turn = not self._quiet.issuperset(steps)
        before = torch.get_rng_state()
        none = nullcontext()
        cores.run(
            [
                [partial(_make, learner, step, learner.stream if in_turn else none) for step in own]
                for learner, own in steps.items()
            ],
            in_turn=in_turn,
        )
        if in_turn:
            self._quiet |= {
                one for one, own in steps.items() if own and isinstance(one.stream, Stream) and not one.stream.drew
            }
        elif not torch.equal(before, torch.get_rng_state()):
            self._quiet.clear()
            warnings.warn(
                "a student drew random numbers that it did not draw in the first steps of this epoch, so that these "
                "students cannot be made again exactly; train them apart for that",
                stacklevel=2,
            )


def _side_by_side(learners: Sequence[Learner]) -> SideBySide | None:
    fabric, cores = learners[0].fabric, torch.get_num_threads()
    bf16 = fabric.device.type == "cpu" and fabric.strategy.precision.precision == "bf16-mixed"
    if len(learners) == 1 or cores == 1 or not bf16 or any(learner.step.watch is not None for learner in learners):
        return None
    largest = max(student_macs(learner.job.student, learner.job.data) for learner in learners)
    rows = learners[0].job.mix.rows(learners[0].config.batch_size)
    return SideBySide(len(learners), cores) if largest * rows <= _SMALL * cores else None


def _make(learner: Learner, step: Callable[[], None], stream: AbstractContextManager[object]) -> None:
    """A step of a student as if it were alone."""
    if learner.lost is not None:
        return
    try:
        with stream:
            step()
            learner.step_made()
    except Diverged as error:
        learner.lost = error
