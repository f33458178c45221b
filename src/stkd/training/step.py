"""One training step: what the teacher answers to a batch, and what a student learns from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .. import losses
from ..core.errors import StkdError
from ..core.processes import Launch
from ..core.world import World
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

    Several processes each run teacher and student on some of a batch's images. What the models answer to all is then
    gathered, so that every process has the losses of the whole batch, with the same modules of the method.

    Args:
        student: The student, its method and its teacher.
        state: What a step changes: the student's weights, optimizer, schedule, average and metrics.
        model, optimizer: As Fabric wraps them.
        world: The processes; None for one.
    """

    def __init__(
        self, student: Student, state: State, model: nn.Module, optimizer: Optimizer, world: World | None = None
    ) -> None:
        self.student, self.state, self.model, self.optimizer = student, state, model, optimizer
        self.world = world or World(Launch())
        self.first_stage = student.method.first_stage_epochs(student.config.epochs)
        self._in_part = max(self.first_stage, student.config.freeze)  # epochs that train some of the weights alone

    def __call__(self, batch: Batch) -> None:
        """Make the step."""
        self.learn(batch, self.teach(batch))

    def teach(self, batch: Batch) -> Tensor | None:
        """The teacher's logits (R, C), in the run's precision; None without a teacher."""
        teacher = self.student.teacher
        if teacher is None:
            return None
        with self.state.fabric.autocast():
            return self.world.gathered(teacher(batch), len(batch.targets))

    def learn(self, batch: Batch, taught: Tensor | None) -> None:
        """Change the student by a batch and the teacher's logits."""
        self.change(batch, taught)
        self.count(len(batch.targets))

    def change(self, batch: Batch, taught: Tensor | None) -> None:
        """The part of `learn` that is the device's: it reads tensors and changes tensors in place, nothing else."""
        state, fabric, optimizer = self.state, self.state.fabric, self.optimizer
        with self._synchronised(batch.epoch):
            with _one_image_said(batch), self._own_numbers(batch):
                logits = self.model(batch.images)
            logits = self.world.gathered(logits, len(batch.targets))
            if logits.dtype == torch.float64:
                batch = replace(batch, images=batch.images.double(), targets=batch.targets.double())
            with _one_image_said(batch):
                named = self._losses(batch, logits, taught)
            total: Tensor = sum(named.values(), start=torch.zeros((), device=fabric.device))
            fabric.backward(total)
        self._average(batch.epoch)
        if (norm := self.student.config.clip_norm) is not None:
            # looking for values that are not finite would wait for the device in every step; the meter does without
            fabric.clip_gradients(self.model, optimizer, max_norm=norm, error_if_nonfinite=False)
        optimizer.step()
        optimizer.zero_grad()
        state.meter.add(named, total, logits, batch.targets, taught)

    def _synchronised(self, epoch: int) -> AbstractContextManager[object]:
        """While this lasts, gradients of the student become those of all processes by themselves.

        But where not all of its weights are trained, in a first stage or beside a frozen backbone: DDP would wait for
        the rest.
        """
        if self.world.size > 1 and epoch < self._in_part:
            return self.state.fabric.no_backward_sync(self.model)  # type: ignore[arg-type]
        return nullcontext()

    def _average(self, epoch: int) -> None:
        """Gradients of all processes, where DDP does not see to it."""
        if self.world.size == 1:
            return
        extras = self.student.extras
        parameters = [] if extras is None else list(extras.parameters())
        if epoch < self._in_part:
            parameters += self.student.module.parameters()
        self.world.average([p.grad for p in parameters if p.grad is not None])

    @contextmanager
    def _own_numbers(self, batch: Batch) -> Iterator[None]:
        """While this lasts, each of several processes draws other random numbers, for a step always the same.

        What all compute of the whole batch has to draw alike.
        """
        if self.world.size == 1:
            yield
            return
        key = [self.student.config.seed, batch.epoch, batch.step, self.world.rank]
        device = self.state.fabric.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
            yield

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
        taken = student.features.take() if student.features is not None else (Tapped(), Tapped())
        seen, shown = (self._whole(side, len(batch.targets)) for side in taken)
        model = student.teacher.module if isinstance(student.teacher, LiveTeacher) else None
        of_classes, epochs = student.class_weights, config.epochs
        view = View(batch, logits, taught, seen, shown, student.extras, model, batch.epoch, epochs, of_classes)
        if self.world.size > 1:
            view = replace(view, whole=partial(self.world.gathered, rows=len(batch.targets)))
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

    def _whole(self, tapped: Tapped, rows: int) -> Tapped:
        """Features of all rows."""
        if self.world.size == 1:
            return tapped
        kinds = (tapped.stages, tapped.preact, tapped.pooled)
        return Tapped(*(tuple(self.world.gathered(feature, rows) for feature in kind) for kind in kinds))
