"""One student at work: what a step changes, what is kept of an epoch, what is written at the end."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..core.errors import StkdError
from ..data.loader import Batch
from ..evaluation import score
from ..runs.directory import RunDirectory
from ..teachers.cached import CachedTeacher
from .at_chance import at_chance
from .below_probe import below_probe
from .choice import Choice
from .cuda_graph import CapturedStep, CudaGraph, check_capture
from .meter import Meter
from .optim import make_optimizer, make_schedule, peak_lr, usual_lr
from .parameter_groups import Backbone, layered
from .random_stream import RandomStream
from .resume import resume
from .session import Session
from .state import State
from .step import Step
from .student import Student

__all__ = ["Diverged", "Learner"]

_log = logging.getLogger(__name__)

_CHECK_EVERY = 50  # steps between looks for a loss that is not finite; each look waits for the device


class Diverged(StkdError):
    """A student's loss or weights are not finite."""


class Learner:
    """A student at work.

    Args:
        student: What is trained, how, and by whom it is taught.
        session: Data and batches.
        run: Its run directory.

    Attributes:
        make_step: Makes a whole step.
        stream: To be entered around everything that it does, where others train beside it.
        lost: Why it goes on no more.
    """

    def __init__(self, student: Student, session: Session, run: RunDirectory) -> None:
        config, fabric = student.config, student.fabric
        self.student, self.run, self.fabric, self.config = student, run, fabric, config
        self.data, self.mix, self.loader, self.steps = session.data, session.mix, session.loader, session.loader.steps
        self.world, self._probe = session.world, session.facts.get("probe")
        self.stream: AbstractContextManager[object] = nullcontext()
        self.lost: Diverged | None = None
        self._began = self._seconds_before = self._images_per_s = 0.0
        self._rows_before = 0
        self.lr = config.lr if config.lr is not None else usual_lr(config, student.info.model)
        if config.precision == "64":
            _in_double(student)
        trained = [*student.module.parameters(), *(student.extras.parameters() if student.extras is not None else ())]
        decay = config.layer_decay
        groups = None if decay is None else layered(student.module, student.extras, self.lr, config.weight_decay, decay)
        optimizer = make_optimizer(config, groups or trained, self.lr)
        scheduler = make_schedule(config, optimizer, self.steps)
        self._backbone = Backbone(student.module) if config.freeze else None
        self.model, self.optimizer = fabric.setup(student.fast, optimizer, _reapply_compile=False)
        ema, meter = self._make_ema(student.module), Meter(fabric.device)
        parts = (student.module, student.extras, optimizer, scheduler, ema, meter)
        self.state = State(fabric, *parts, student.identity, epochs=config.epochs, steps=self.steps)
        self.step = Step(student, self.state, self.model, self.optimizer, self.world)
        self.make_step: Callable[[Batch], None] = self.step
        if config.cuda_graph:
            check_capture(self.step)
            self.make_step = CapturedStep(self.step, CudaGraph())
        torch.manual_seed(config.seed + 1)  # dropout and the like; its state is part of the checkpoint

    def _make_ema(self, student: nn.Module) -> AveragedModel | None:
        if self.config.ema is None:
            return None
        average = get_ema_multi_avg_fn(self.config.ema)  # type: ignore[no-untyped-call]
        return AveragedModel(student, multi_avg_fn=average, use_buffers=True)

    def restore(self) -> dict[str, Any]:
        """Go on from the run's last checkpoint, if there is one.

        Returns:
            What changed since, as `training.resume.resume` has it.

        Raises:
            StkdError: It is damaged, or belongs to other data or another teacher.
        """
        checkpoint, changes = self.run.checkpoint(), dict[str, Any]()
        if checkpoint is not None:
            changes = resume(self.state, checkpoint, self.config, self.student.method, self.data)
        if not self.world.all_equal(*self.position):
            raise StkdError(
                f"not all processes found the same checkpoint in {self.run.path}; give --out a folder that every "
                "machine sees"
            )
        return changes

    def note_engines(self, choice: Choice) -> dict[str, Any]:
        """Note in the run's changes where it goes on with other engines than it was begun with.

        Returns:
            What is to be recorded: "engines_changed"; empty where nothing is new.
        """
        begun = [Choice.of(record) for record in self.run.engines]
        known = [change["engines_changed"]["to"] for change in self.state.changes if "engines_changed" in change]
        before = known[-1] if known else str(begun[0]) if begun else str(choice)
        if before == str(choice):
            return {}
        change = {"engines_changed": {"from": before, "to": str(choice), "epoch": self.state.epoch}}
        self.state.changes = [*self.state.changes, change]
        return change

    def separate(self) -> None:
        """From here on it draws random numbers as if it trained alone, whatever others draw in between."""
        self.stream = RandomStream(self.fabric.device)

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and step that come next."""
        return self.state.epoch, self.state.step

    def step_undone(self) -> Callable[[], bool]:
        """What goes back to here if the next step fails in its middle; False says that it cannot.

        A step changes buffers, such as those of batch normalisation, before it knows whether it will be made.
        """
        before, buffers = self.position, list(self.student.module.buffers())
        here = self.fabric.device.type == "cpu"  # another device may wait for ever for those that are gone
        kept = [buffer.clone() for buffer in buffers] if here else []

        def back() -> bool:
            if self.position != before or not here:
                return here
            for buffer, old in zip(buffers, kept, strict=True):
                buffer.copy_(old)
            self.optimizer.zero_grad()
            extras = self.student.extras
            return extras is None or next(extras.buffers(), None) is None

        return back

    def begin_epoch(self) -> None:
        """Start, or go on inside an epoch."""
        self.model.train()
        if self.state.extras is not None:
            self.state.extras.train()
        if self._backbone is not None:
            self._backbone.freeze(self.state.epoch < self.config.freeze)
        self._began, self._rows_before = time.monotonic(), self.state.meter.rows
        self._seconds_before = self.state.seconds

    def step_made(self) -> None:
        """Count a step; look for a loss that is not finite now and then.

        Raises:
            Diverged: There was one.
        """
        self.state.step += 1
        self.state.seconds = self._seconds_before + time.monotonic() - self._began
        if self.state.step % _CHECK_EVERY == 0:
            self._check_loss()

    @property
    def images_per_s(self) -> float:
        """Since the epoch began."""
        return (self.state.meter.rows - self._rows_before) / (time.monotonic() - self._began)

    def settle(self) -> None:
        """Wait for the device, and see that loss and weights are finite before anything is kept.

        Raises:
            Diverged: They are not.
        """
        self._check_loss()
        if not self.state.finite():
            raise self._diverged("weights", self.state.step)
        self._images_per_s = self.images_per_s

    def _check_loss(self) -> None:
        if (bad := self.state.meter.bad_step()) is not None:
            raise self._diverged("loss", bad + 1)

    def _diverged(self, what: str, step: int) -> Diverged:
        if not self.state.meter.teacher_finite():
            return Diverged(
                f"the teacher's logits are NaN or infinite for images of epoch {self.state.epoch + 1}, and so the "
                f"{what} at step {step}; check its weights and normalisation, or give --teacher-precision 32, with "
                "another --out"
            )
        last = self.run.last
        kept = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
        return Diverged(
            f"the {what} became NaN or infinite at epoch {self.state.epoch + 1}, step {step}; {kept}; "
            f"try a smaller --lr (now {self.lr:g}), --clip-norm 1, --warmup-epochs 1 or --precision 32, with another "
            "--out"
        )

    def end_epoch(self) -> None:
        """Score, log and keep what `settle` has found finite."""
        state, epoch = self.state, self.state.epoch + 1
        last = epoch == self.config.epochs
        row: dict[str, Any] = {
            "epoch": epoch,
            "lr": peak_lr(self.optimizer),
            **{f"train_{name}": value for name, value in state.meter.means().items()},
            "images_per_s": round(self._images_per_s, 1),
            "seconds": round(state.seconds, 2),
        }
        if (last or epoch % self.config.eval_every == 0) and self.fabric.is_global_zero:
            for split, scores in self._scores(state.student).items():
                row |= {f"{split}_{name}": value for name, value in scores.items()}
        row = self.world.of_first(row)
        state.epoch, state.step = epoch, 0  # only now: where an image cannot be read, the epoch has not ended
        state.images += self.steps * min(self.config.batch_size, len(self.data.train))
        state.meter.reset()
        state.rows.append(row)
        self._keep_best(row)
        if self.fabric.is_global_zero:
            # before the checkpoint, since a run that is killed after its last one has no epoch left to log
            self.run.log(state.rows)
            for logger in self.fabric.loggers:
                logger.log_metrics({k: v for k, v in row.items() if k != "epoch"}, step=state.epoch)
                logger.save()
        if last or state.epoch % self.config.checkpoint_epochs == 0:
            self.save()

    def _scores(self, model: nn.Module) -> dict[str, dict[str, float]]:
        # without Fabric's wrapper, hence in float32: what a user of the weights will see
        splits = {"val": self.data.val, "test": self.data.test}
        return {
            name: score(model, split, self.data, device=self.fabric.device, workers=self.config.workers)
            for name, split in splits.items()
            if split is not None
        }

    def _keep_best(self, row: dict[str, Any]) -> None:
        """Best weights so far by validation accuracy; only a validation split may choose."""
        state, top1 = self.state, row.get("val_top1")
        if top1 is None or (state.best is not None and top1 <= state.best["val_top1"]):
            return
        state.best = {"epoch": row["epoch"], "val_top1": top1, "test_top1": row.get("test_top1")}
        if self.fabric.is_global_zero:
            self.run.save_best(state.student, self.student.info)

    def save(self) -> None:
        """Write a checkpoint."""
        if self.fabric.is_global_zero:
            self.run.save_checkpoint(self.state.state_dict())

    def finish(self) -> dict[str, Any]:
        """Write what the run ends with, and return its result."""
        state, row, student = self.state, self.state.rows[-1], self.student
        live = student.teacher is not None and not isinstance(student.teacher, CachedTeacher)
        splits = [name for name in ("val", "test") if f"{name}_top1" in row]
        result: dict[str, Any] = {
            "epochs": self.config.epochs,
            **{name: {"top1": row[f"{name}_top1"], "nll": row[f"{name}_nll"]} for name in splits},
            "train_accuracy": row["train_accuracy"],
            "seconds": round(state.seconds, 2),
            "images": {
                name: len(split) for name in ("train", "val", "test") if (split := getattr(self.data, name)) is not None
            },
            "images_seen": state.images,
            "teacher_passes": state.images * self.mix.rows(1) if live else 0,
            "precision": self.fabric.strategy.precision.precision,
            "speed": student.engines,
            "lr": self.lr,
            "method": self.config.method,
            "method_options": dataclasses.asdict(student.method),
            "mix": dataclasses.asdict(self.mix),
            "best_on_validation": state.best,
            **({"probe": self._probe} if self._probe else {}),
            **({"changes": state.changes} if state.changes else {}),
        }
        if not self.fabric.is_global_zero:
            return result
        self.run.log(state.rows)  # what lies there may be damaged, where no epoch was left to make
        for line in (at_chance(student, self.loader, row), below_probe(self.config, self._probe, row)):
            if line is not None:
                _log.warning("%s: %s", self.run.path, line)
        models: dict[str, nn.Module] = {"": state.student}
        if state.ema is not None:
            result["ema"] = self._scores(state.ema.module)
            models["_ema"] = state.ema.module
        if self.config.precision == "64":
            for model in models.values():
                model.float()
        teacher = student.teacher.name if student.teacher is not None else ""
        return self.run.finish(result, models, student.info, teacher)


def _in_double(student: Student) -> None:
    """Have a student and what its method trains beside it compute in float64, whatever images they are shown."""
    for module in (student.module, student.extras):
        if module is not None:
            module.double()
    student.module.register_forward_pre_hook(_as_weights)


def _as_weights(module: nn.Module, images: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(image.to(next(module.parameters()).dtype) for image in images)
