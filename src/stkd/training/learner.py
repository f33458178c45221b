"""One student at work: what a step changes, what is kept of an epoch, what is written at the end."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..core.config import DistillConfig, TrainConfig
from ..core.errors import StkdError
from ..core.fabric import Fabric
from ..data import DataSet
from ..data.loader import Batch, TrainLoader
from ..evaluation import score
from ..methods import Method
from ..mixing import Mix
from ..models.files import ModelInfo, save_model
from ..runs.checkpoint import load_checkpoint, save_checkpoint
from ..runs.directory import RunDir
from ..teachers.cache import CachedTeacher
from ..teachers.live import Teacher
from .capture import CapturedStep, CudaGraph, can_capture
from .meter import Meter
from .optim import make_optimizer, make_schedule, usual_lr
from .speed import speed_up
from .state import State
from .step import Step
from .watch import attach

__all__ = ["Diverged", "Job", "Learner"]

_CHECK_EVERY = 50  # steps between looks for a loss that is not finite; each look waits for the device


@dataclass(frozen=True)
class Job:
    """What is trained, on what, how.

    Attributes:
        config: The options of the run.
        data: The data set.
        student: What is trained.
        info: What to write beside its weights.
        method: How it is trained.
        mix: How its virtual samples are made.
        teacher: What it learns from, if the method uses a teacher.
        weights_name: File name of the final weights.
    """

    config: TrainConfig | DistillConfig
    data: DataSet
    student: nn.Module
    info: ModelInfo
    method: Method
    mix: Mix
    teacher: Teacher | None
    weights_name: str


class Diverged(StkdError):
    """A student's loss or weights are not finite."""


class Learner:
    """A student at work, from its last checkpoint on if there is one.

    Args:
        job: What is trained, on what, how.
        run: Its run directory.
        fabric: Its device and precision.
        loader: The batches, for their number.

    Attributes:
        step: Its step, in parts.
        make_step: Makes a whole one, in the fastest way.
        stream: To be entered around everything that it does, where others train beside it.
        lost: Why it goes on no more.

    Raises:
        StkdError: The checkpoint belongs to other data or another teacher, or a model does not fit the method.
    """

    def __init__(self, job: Job, run: RunDir, fabric: Fabric, loader: TrainLoader) -> None:
        config = job.config
        self.job, self.dir, self.fabric, self.config, self.steps = job, run, fabric, config, loader.steps
        self.stream: AbstractContextManager[object] = nullcontext()
        self.lost: Diverged | None = None
        self._began = self._seconds_before = self._speed = 0.0
        self._rows_before = 0
        self.lr = config.lr if config.lr is not None else usual_lr(config, job.info.model)
        teacher = job.teacher.to(fabric.device) if job.teacher is not None else None
        student = job.student.to(fabric.device).to(memory_format=torch.channels_last)
        watch, extras = attach(job.method, student, teacher, job.data, loader.labels)
        if extras is not None and fabric.world_size > 1:
            raise StkdError("this method trains modules of its own; it runs on one device so far: --devices 1")
        trained = [*student.parameters(), *(extras.parameters() if extras is not None else ())]
        optimizer = make_optimizer(config, trained, self.lr)
        scheduler = make_schedule(config, optimizer, self.lr, loader.steps)
        fast, self.speed = speed_up(config, job.method, student, teacher, job.data, loader, fabric)
        self.student, self.optimizer = fabric.setup(fast, optimizer, _reapply_compile=False)
        identity = {"data": job.data.fingerprint, "teacher": teacher.fingerprint() if teacher is not None else ""}
        self.state = State(
            fabric, student, extras, optimizer, scheduler, self._make_ema(student), Meter(fabric.device), identity
        )
        self.step = Step(config, job.method, self.state, self.student, self.optimizer, teacher, watch)
        self.make_step: Callable[[Batch], None] = self.step
        if can_capture(config, self.step):
            self.make_step = CapturedStep(self.step, CudaGraph())
        torch.manual_seed(config.seed + 1)  # dropout and the like; its state is part of the checkpoint
        if run.last.exists():
            self.state.load_state_dict(load_checkpoint(run.last))

    def _make_ema(self, student: nn.Module) -> AveragedModel | None:
        if self.config.ema is None:
            return None
        average = get_ema_multi_avg_fn(self.config.ema)  # type: ignore[no-untyped-call]
        return AveragedModel(student, multi_avg_fn=average, use_buffers=True)

    @property
    def position(self) -> tuple[int, int]:
        """Epoch and step that come next."""
        return self.state.epoch, self.state.step

    def begin_epoch(self) -> None:
        """Start, or go on inside an epoch."""
        self.student.train()
        if self.state.extras is not None:
            self.state.extras.train()
        self._began, self._rows_before, self._seconds_before = (
            time.monotonic(),
            self.state.meter.rows,
            self.state.seconds,
        )

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
        self._speed = self.images_per_s

    def _check_loss(self) -> None:
        if (bad := self.state.meter.bad_step()) is not None:
            raise self._diverged("loss", bad + 1)

    def _diverged(self, what: str, step: int) -> Diverged:
        last = self.dir.last
        kept = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
        return Diverged(
            f"the {what} became NaN or infinite at epoch {self.state.epoch + 1}, step {step}; {kept}; "
            f"try a smaller --lr (now {self.lr:g}), --clip-norm 1, --warmup-epochs 1 or --precision 32, with another "
            "--out"
        )

    def end_epoch(self) -> None:
        """Score, log and keep what `settle` has found finite."""
        state = self.state
        state.epoch, state.step = state.epoch + 1, 0
        last = state.epoch == self.config.epochs
        row: dict[str, Any] = {
            "epoch": state.epoch,
            "lr": self.optimizer.param_groups[0]["lr"],
            **{f"train_{name}": value for name, value in state.meter.means().items()},
            "images_per_s": round(self._speed, 1),
            "seconds": round(state.seconds, 2),
        }
        if last or state.epoch % self.config.eval_every == 0:
            for split, scores in self._scores(state.student).items():
                row |= {f"{split}_{name}": value for name, value in scores.items()}
        state.meter.reset()
        state.rows.append(row)
        self._keep_best(row)
        if self.fabric.is_global_zero:
            # before the checkpoint, since a run that is killed after its last one has no epoch left to log
            self.dir.log(state.rows)
            for logger in self.fabric.loggers:
                logger.log_metrics({k: v for k, v in row.items() if k != "epoch"}, step=state.epoch)
                logger.save()
        if last or state.epoch % self.config.checkpoint_epochs == 0:
            self.save()

    def _scores(self, model: nn.Module) -> dict[str, dict[str, float]]:
        # without Fabric's wrapper, hence in float32: what a user of the weights will see
        splits = {"val": self.job.data.val, "test": self.job.data.test}
        return {
            name: score(model, split, self.job.data, device=self.fabric.device, workers=self.config.workers)
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
            save_model(state.student, self.dir.checkpoints / "best.safetensors", self.job.info)

    def save(self) -> None:
        """Write a checkpoint."""
        if self.fabric.is_global_zero:
            save_checkpoint(self.dir.last, self.state.state_dict())

    def finish(self) -> dict[str, Any]:
        """Write the final weights and the result, and return the result."""
        state, row = self.state, self.state.rows[-1]
        images = self.config.epochs * self.steps * min(self.config.batch_size, len(self.job.data.train))
        live = self.job.teacher is not None and not isinstance(self.job.teacher, CachedTeacher)
        splits = [name for name in ("val", "test") if f"{name}_top1" in row]
        result: dict[str, Any] = {
            "epochs": self.config.epochs,
            **{name: {"top1": row[f"{name}_top1"], "nll": row[f"{name}_nll"]} for name in splits},
            "train_accuracy": row["train_accuracy"],
            "seconds": round(state.seconds, 2),
            "images_seen": images,
            "teacher_passes": images * (1 + self.job.mix.beside) if live else 0,
            "precision": self.fabric.strategy.precision.precision,
            "speed": self.speed,
            "lr": self.lr,
            "method": self.config.method,
            "method_options": dataclasses.asdict(self.job.method),
            "mix": dataclasses.asdict(self.job.mix),
            "best_on_validation": state.best,
        }
        if self.fabric.is_global_zero:
            if state.ema is not None:
                result["ema"] = self._scores(state.ema.module)
                save_model(state.ema.module, self._weights("_ema"), self.job.info)
            save_model(state.student, self._weights(), self.job.info)
            self.dir.finish(result)
        return result

    def _weights(self, suffix: str = "") -> Path:
        file = Path(self.job.weights_name)
        return self.dir.path / f"{file.stem}{suffix}{file.suffix}"
