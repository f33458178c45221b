"""The training loop: the same weights whether or not it was interrupted."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..config import DistillConfig, TrainConfig
from ..data import DataSet
from ..data.loader import TrainLoader
from ..errors import Interrupted, StkdError
from ..evaluation import score
from ..fabric import Fabric
from ..methods import Method
from ..mixing import Mix
from ..saved import Card, save_model
from ..teacher import Teacher
from .checkpoint import load_checkpoint, save_checkpoint
from .interrupt import StopSignals
from .meter import Meter
from .optim import make_optimizer, make_schedule, usual_lr
from .progress import Bar
from .run import RunDir
from .speed import speed_up
from .state import State
from .step import Step
from .watch import attach

__all__ = ["Job", "fit"]

_CHECK_EVERY = 50  # steps between looks for a loss that is not finite; each look waits for the device


@dataclass(frozen=True)
class Job:
    """What is trained, on what, how.

    Attributes:
        config: The options of the run.
        data: The data set.
        student: What is trained.
        card: What to write beside its weights.
        method: How it is trained.
        mix: The virtual samples.
        teacher: What it learns from, if the method uses a teacher.
        weights_name: File name of the final weights.
        progress: Show a progress bar.
    """

    config: TrainConfig | DistillConfig
    data: DataSet
    student: nn.Module
    card: Card
    method: Method
    mix: Mix
    teacher: Teacher | None
    weights_name: str
    progress: bool = True

    def title(self) -> str:
        """A few words for the progress bar."""
        return self.config.out.name


def fit(job: Job, run: RunDir, fabric: Fabric) -> dict[str, Any]:
    """Train to the last epoch, from the last checkpoint on if there is one.

    Returns:
        The result that is also written to the run directory: scores of the last epoch, time and amount of work.

    Raises:
        Interrupted: A signal asked to stop; a checkpoint was written.
        StkdError: The loss is not finite, or the checkpoint belongs to other data or another teacher.
    """
    return _Fit(job, run, fabric).run()


class _Fit:
    """A run at work: its state, and what the state is changed with."""

    def __init__(self, job: Job, run: RunDir, fabric: Fabric) -> None:
        config = job.config
        self.job, self.dir, self.fabric, self.config = job, run, fabric, config
        self.loader = TrainLoader(
            job.data,
            batch_size=config.batch_size,
            mix=job.mix,
            augmentation="none" if config.augment == "none" else job.data.augment,
            seed=config.seed,
            device=fabric.device,
            workers=config.workers,
            rank=fabric.global_rank,
            world=fabric.world_size,
        )
        self.lr = config.lr if config.lr is not None else usual_lr(config, job.card.model)
        teacher = job.teacher.to(fabric.device) if job.teacher is not None else None
        student = job.student.to(fabric.device).to(memory_format=torch.channels_last)
        watch, extras = attach(job.method, student, teacher, job.data, self.loader.labels)
        if extras is not None and fabric.world_size > 1:
            raise StkdError("this method trains modules of its own; it runs on one device so far: --devices 1")
        trained = [*student.parameters(), *(extras.parameters() if extras is not None else ())]
        optimizer = make_optimizer(config, trained, self.lr)
        scheduler = make_schedule(config, optimizer, self.lr, self.loader.steps)
        fast, self.speed = speed_up(config, job.method, student, teacher, job.data, self.loader, fabric)
        self.student, self.optimizer = fabric.setup(fast, optimizer, _reapply_compile=False)
        identity = {"data": job.data.fingerprint, "teacher": teacher.fingerprint() if teacher is not None else ""}
        self.state = State(
            fabric, student, extras, optimizer, scheduler, self._make_ema(student), Meter(fabric.device), identity
        )
        self.step = Step(config, job.method, self.state, self.student, self.optimizer, teacher, watch)
        torch.manual_seed(config.seed + 1)  # dropout and the like; its state is part of the checkpoint

    def _make_ema(self, student: nn.Module) -> AveragedModel | None:
        if self.config.ema is None:
            return None
        average = get_ema_multi_avg_fn(self.config.ema)  # type: ignore[no-untyped-call]
        return AveragedModel(student, multi_avg_fn=average, use_buffers=True)

    def run(self) -> dict[str, Any]:
        state = self.state
        if self.dir.last.exists():
            state.load_state_dict(load_checkpoint(self.dir.last))
        done = state.epoch * self.loader.steps + state.step
        bar = Bar(self.job.title(), self.config.epochs, self.loader.steps, done, shown=self.job.progress)
        with StopSignals() as signals, bar:
            while state.epoch < self.config.epochs:
                self._train_epoch(signals, bar)
        return self._finish()

    def _train_epoch(self, signals: StopSignals, bar: Bar) -> None:
        state = self.state
        self.student.train()
        if state.extras is not None:
            state.extras.train()
        began, rows_before, seconds_before = time.monotonic(), state.meter.rows, state.seconds
        saved = began
        for batch in self.loader.epoch(state.epoch, state.step):
            self.step(batch)
            state.step += 1
            now = time.monotonic()
            state.seconds = seconds_before + now - began
            if state.step % _CHECK_EVERY == 0:
                self._check_loss()
            if bar.due():
                speed = (state.meter.rows - rows_before) / (now - began)
                bar.update(state.epoch * self.loader.steps + state.step, state.meter.means(), speed)
            if signals.received is not None:
                self._stop(signals.received)
            if now - saved > 60 * self.config.checkpoint_minutes > 0 and state.step < self.loader.steps:
                self._check_finite()
                self._save()
                saved = time.monotonic()
        self._check_finite()
        self._end_epoch((state.meter.rows - rows_before) / (time.monotonic() - began))

    def _check_finite(self) -> None:
        """Before anything is kept."""
        self._check_loss()
        if not self.state.finite():
            raise self._diverged("weights", self.state.step)

    def _check_loss(self) -> None:
        if (bad := self.state.meter.bad_step()) is not None:
            raise self._diverged("loss", bad + 1)

    def _diverged(self, what: str, step: int) -> StkdError:
        last = self.dir.last
        kept = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
        return StkdError(
            f"the {what} became NaN or infinite at epoch {self.state.epoch + 1}, step {step}; {kept}; "
            f"try a smaller --lr (now {self.lr:g}), --clip-norm 1, --warmup-epochs 1 or --precision 32, with another "
            "--out"
        )

    def _end_epoch(self, images_per_s: float) -> None:
        state = self.state
        state.epoch, state.step = state.epoch + 1, 0
        last = state.epoch == self.config.epochs
        row: dict[str, Any] = {
            "epoch": state.epoch,
            "lr": self.optimizer.param_groups[0]["lr"],
            **{f"train_{name}": value for name, value in state.meter.means().items()},
            "images_per_s": round(images_per_s, 1),
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
            self._save()

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
            save_model(state.student, self.dir.checkpoints / "best.safetensors", self.job.card)

    def _stop(self, signum: int) -> None:
        self._check_finite()
        self._save()
        raise Interrupted(
            signum,
            f"stopped at epoch {self.state.epoch + 1}, step {self.state.step}; checkpoint written to {self.dir.last}; "
            "run the same command again to go on",
        )

    def _save(self) -> None:
        if self.fabric.is_global_zero:
            save_checkpoint(self.dir.last, self.state.state_dict())

    def _finish(self) -> dict[str, Any]:
        state, row = self.state, self.state.rows[-1]
        images = self.config.epochs * self.loader.steps * min(self.config.batch_size, len(self.job.data.train))
        splits = [name for name in ("val", "test") if f"{name}_top1" in row]
        result: dict[str, Any] = {
            "epochs": self.config.epochs,
            **{name: {"top1": row[f"{name}_top1"], "nll": row[f"{name}_nll"]} for name in splits},
            "train_accuracy": row["train_accuracy"],
            "seconds": round(state.seconds, 2),
            "images_seen": images,
            "teacher_passes": images * (1 + self.job.mix.beside) if self.job.teacher is not None else 0,
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
                save_model(state.ema.module, self._weights("_ema"), self.job.card)
            save_model(state.student, self._weights(), self.job.card)
            self.dir.finish(result)
        return result

    def _weights(self, suffix: str = "") -> Path:
        file = Path(self.job.weights_name)
        return self.dir.path / f"{file.stem}{suffix}{file.suffix}"
