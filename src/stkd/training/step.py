"""One training step: what the teacher says of a batch, and what a student learns from it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .. import losses
from ..core.config import DistillConfig, TrainConfig
from ..data.loader import Batch
from ..methods import Method, Tapped, View
from ..teachers.live import Teacher
from .state import State
from .watch import Watch

__all__ = ["Step"]


class Step:
    """The step of one student. Nothing in it waits for the device.

    `teach` and `learn` are apart so that several students may learn from one answer of the teacher.

    Args:
        config: The options of the run.
        method: Which losses.
        state: What a step changes: the student's weights, optimizer, schedule, average and metrics.
        student, optimizer: As Fabric wraps them.
        teacher: On the same device; None if the method uses none.
        watch: The features that the method looks at, if any.
    """

    def __init__(
        self,
        config: TrainConfig | DistillConfig,
        method: Method,
        state: State,
        student: nn.Module,
        optimizer: Optimizer,
        teacher: Teacher | None,
        watch: Watch | None,
    ) -> None:
        self.config, self.method, self.state = config, method, state
        self.student, self.optimizer, self.teacher, self.watch = student, optimizer, teacher, watch
        self.first_stage = method.first_stage_epochs(config.epochs)

    def __call__(self, batch: Batch) -> None:
        """Make the step."""
        self.learn(batch, self.teach(batch))

    def teach(self, batch: Batch) -> Tensor | None:
        """The teacher's logits (R, C), in the run's precision; None without a teacher."""
        if self.teacher is None:
            return None
        with self.state.fabric.autocast():
            return self.teacher(batch)

    def learn(self, batch: Batch, taught: Tensor | None) -> None:
        """Change the student by a batch and what the teacher says of it."""
        self.change(batch, taught)
        self.count(len(batch.images))

    def change(self, batch: Batch, taught: Tensor | None) -> None:
        """The part of `learn` that is the device's: it reads tensors and changes tensors in place, nothing else."""
        state, fabric, optimizer = self.state, self.state.fabric, self.optimizer
        logits = self.student(batch.images)
        named = self._losses(batch, logits, taught)
        total: Tensor = sum(named.values(), start=torch.zeros((), device=fabric.device))
        fabric.backward(total)
        if self.config.clip_norm is not None:
            # looking for values that are not finite would wait for the device in every step; the meter does without
            norm = self.config.clip_norm
            fabric.clip_gradients(self.student, optimizer, max_norm=norm, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()
        state.meter.add(named, total, logits, batch.targets)

    def count(self, rows: int) -> None:
        """What follows a change: the schedule, the average of the weights, the number of steps and rows."""
        state = self.state
        state.scheduler.step()
        if state.ema is not None:
            state.ema.update_parameters(state.student)
        state.meter.count(rows)

    def _losses(self, batch: Batch, logits: Tensor, taught: Tensor | None) -> dict[str, Tensor]:
        """The named losses of the step."""
        method, epochs = self.method, self.config.epochs
        features = self.watch.take() if self.watch is not None else (Tapped(), Tapped())
        teacher_model = self.teacher.module if self.teacher is not None else None
        view = View(batch, logits, taught, *features, self.state.extras, teacher_model, batch.epoch, epochs)
        if batch.epoch < self.first_stage:
            return method.first_stage_losses(view)
        named = method.losses(view)
        if method.label_weight > 0:
            label = losses.cross_entropy(logits, batch.targets, label_smoothing=self.config.label_smoothing)
            named = {"ce": method.label_weight * label, **named}
        return named
