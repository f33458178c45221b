"""One training step: what the teacher answers to a batch, and what a student learns from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .. import losses
from ..core.errors import StkdError
from ..data.loader import Batch
from ..methods import Tapped, View
from ..teachers import LiveTeacher
from .state import State
from .student import Student

__all__ = ["Step"]


@contextmanager
def _one_image_said(batch: Batch) -> Iterator[None]:
    """Say in one line that a batch is too small for batch normalisation.

    Raises:
        StkdError: In place of torch's error.
    """
    try:
        yield
    except ValueError as error:
        if len(batch.images) > 1 or "more than 1 value per channel" not in str(error):
            raise
        raise StkdError(
            "the student, or what its method trains beside it, normalises over the images of a batch, and this batch "
            "is one image; give --batch-size 2 or more"
        ) from None


class Step:
    """The step of one student. Nothing in it waits for the device.

    `teach` and `learn` are apart so that several students may learn from one answer of the teacher.

    Args:
        student: The student, its method and its teacher.
        state: What a step changes: the student's weights, optimizer, schedule, average and metrics.
        model, optimizer: As Fabric wraps them.
    """

    def __init__(self, student: Student, state: State, model: nn.Module, optimizer: Optimizer) -> None:
        self.student, self.state, self.model, self.optimizer = student, state, model, optimizer
        self.first_stage = student.method.first_stage_epochs(student.config.epochs)

    def __call__(self, batch: Batch) -> None:
        """Make the step."""
        self.learn(batch, self.teach(batch))

    def teach(self, batch: Batch) -> Tensor | None:
        """The teacher's logits (R, C), in the run's precision; None without a teacher."""
        teacher = self.student.teacher
        if teacher is None:
            return None
        with self.state.fabric.autocast():
            return teacher(batch)

    def learn(self, batch: Batch, taught: Tensor | None) -> None:
        """Change the student by a batch and the teacher's logits."""
        self.change(batch, taught)
        self.count(len(batch.images))

    def change(self, batch: Batch, taught: Tensor | None) -> None:
        """The part of `learn` that is the device's: it reads tensors and changes tensors in place, nothing else."""
        state, fabric, optimizer = self.state, self.state.fabric, self.optimizer
        with _one_image_said(batch):
            logits = self.model(batch.images)
            named = self._losses(batch, logits, taught)
        total: Tensor = sum(named.values(), start=torch.zeros((), device=fabric.device))
        fabric.backward(total)
        if (norm := self.student.config.clip_norm) is not None:
            # looking for values that are not finite would wait for the device in every step; the meter does without
            fabric.clip_gradients(self.model, optimizer, max_norm=norm, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()
        state.meter.add(named, total, logits, batch.targets, taught)

    def count(self, rows: int) -> None:
        """What follows a change: the schedule, the average of the weights, the number of steps and rows."""
        state = self.state
        state.scheduler.step()
        if state.ema is not None:
            state.ema.update_parameters(state.student)
        state.meter.count(rows)

    def _losses(self, batch: Batch, logits: Tensor, taught: Tensor | None) -> dict[str, Tensor]:
        """The named losses of the step."""
        student, method, config = self.student, self.student.method, self.student.config
        features = student.features.take() if student.features is not None else (Tapped(), Tapped())
        model = student.teacher.module if isinstance(student.teacher, LiveTeacher) else None
        of_classes, epochs = student.class_weights, config.epochs
        view = View(batch, logits, taught, *features, student.extras, model, batch.epoch, epochs, of_classes)
        if batch.epoch < self.first_stage:
            return method.first_stage_losses(view)
        named = method.losses(view)
        if method.label_weight > 0:
            rows = slice(batch.real) if method.labels_real_alone else slice(None)
            labelled, targets = logits[rows], batch.targets[rows]
            smoothing = config.label_smoothing
            label = losses.cross_entropy(labelled, targets, label_smoothing=smoothing, class_weights=of_classes)
            named = {"ce": method.label_weight * (label if len(labelled) else logits.new_zeros(())), **named}
        return named
