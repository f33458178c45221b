"""The training loop: the same weights whether or not it was interrupted."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from .. import losses, models
from ..config import RunConfig
from ..data import DataSet
from ..data.loader import Batch, TrainLoader
from ..errors import Interrupted, StkdError
from ..evaluation import score
from ..methods import Method, Tapped, View
from ..mixing import Mix
from ..saved import Card, save_model
from ..teacher import Teacher
from .checkpoint import load_checkpoint, save_checkpoint
from .interrupt import StopSignals
from .meter import Meter
from .optim import make_optimizer, make_schedule
from .progress import Bar
from .run import RunDir
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

    config: RunConfig
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
    """State of a run: everything that a checkpoint holds, and what it is made with."""

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
        self.lr = config.lr if config.lr is not None else self._usual_lr()
        student = job.student.to(fabric.device).to(memory_format=torch.channels_last)
        self.teacher = job.teacher.to(fabric.device) if job.teacher is not None else None
        self.watch, self.extras = attach(job.method, student, self.teacher, job.data, self.loader.labels)
        if self.extras is not None and fabric.world_size > 1:
            raise StkdError("this method trains modules of its own; it runs on one device so far: --devices 1")
        trained = [*student.parameters(), *(self.extras.parameters() if self.extras is not None else ())]
        optimizer = make_optimizer(config, trained, self.lr)
        self.scheduler = make_schedule(config, optimizer, self.lr, self.loader.steps)
        self.student, self.optimizer = fabric.setup(student, optimizer)
        self.raw = student  # the same weights without Fabric's wrappers
        self.ema = self._make_ema()
        self.meter = Meter(fabric.device)
        self.epoch, self.step = 0, 0  # the next step to make
        self.seconds = 0.0  # spent training, over all sessions of the run
        self.best: dict[str, Any] | None = None
        self.rows: list[dict[str, Any]] = []
        self.identity = {"data": job.data.fingerprint, "teacher": self.teacher.fingerprint() if self.teacher else ""}
        torch.manual_seed(config.seed + 1)  # dropout and the like; its state is part of the checkpoint

    def _usual_lr(self) -> float:
        if self.config.optimizer == "adamw":
            return 1e-3
        return models.default_lr(self.job.card.model) * self.config.batch_size / 64

    def _make_ema(self) -> AveragedModel | None:
        if self.config.ema is None:
            return None
        average = get_ema_multi_avg_fn(self.config.ema)  # type: ignore[no-untyped-call]
        return AveragedModel(self.raw, multi_avg_fn=average, use_buffers=True)

    def run(self) -> dict[str, Any]:
        if self.dir.last.exists():
            self._restore(load_checkpoint(self.dir.last))
        done = self.epoch * self.loader.steps + self.step
        bar = Bar(self.job.title(), self.config.epochs, self.loader.steps, done, shown=self.job.progress)
        with StopSignals() as signals, bar:
            while self.epoch < self.config.epochs:
                self._train_epoch(signals, bar)
        return self._finish()

    def _train_epoch(self, signals: StopSignals, bar: Bar) -> None:
        self.student.train()
        if self.extras is not None:
            self.extras.train()
        began, rows_before, seconds_before = time.monotonic(), self.meter.rows, self.seconds
        saved = began
        for batch in self.loader.epoch(self.epoch, self.step):
            self._train_step(batch)
            self.step += 1
            now = time.monotonic()
            self.seconds = seconds_before + now - began
            if self.step % _CHECK_EVERY == 0:
                self._check_loss()
            if bar.due():
                speed = (self.meter.rows - rows_before) / (now - began)
                bar.update(self.epoch * self.loader.steps + self.step, self.meter.means(), speed)
            if signals.received is not None:
                self._stop(signals.received)
            if now - saved > 60 * self.config.checkpoint_minutes > 0 and self.step < self.loader.steps:
                self._check_finite()
                self._save()
                saved = time.monotonic()
        self._check_finite()
        self._end_epoch((self.meter.rows - rows_before) / (time.monotonic() - began))

    def _train_step(self, batch: Batch) -> None:
        named = self._losses(batch)
        total: Tensor = sum(named.values(), start=torch.zeros((), device=self.fabric.device))
        self.fabric.backward(total)
        if self.config.clip_norm is not None:
            self.fabric.clip_gradients(self.student, self.optimizer, max_norm=self.config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scheduler.step()
        if self.ema is not None:
            self.ema.update_parameters(self.raw)
        self.meter.add(named, total, self._logits, batch.targets)

    def _losses(self, batch: Batch) -> dict[str, Tensor]:
        method = self.job.method
        taught = None
        if self.teacher is not None:
            with self.fabric.autocast():
                taught = self.teacher(batch.images)
        logits = self.student(batch.images)
        self._logits = logits
        features = self.watch.take() if self.watch is not None else (Tapped(), Tapped())
        teacher_model = self.teacher.module if self.teacher is not None else None
        view = View(batch, logits, taught, *features, self.extras, teacher_model, self.epoch, self.config.epochs)
        if self.epoch < round(method.preparation * self.config.epochs):
            return method.prepare(view)
        named = method.losses(view)
        if method.label_weight > 0:
            label = losses.cross_entropy(logits, batch.targets, label_smoothing=self.config.label_smoothing)
            named = {"ce": method.label_weight * label, **named}
        return named

    def _check_finite(self) -> None:
        """Before anything is kept."""
        self._check_loss()
        self._check_weights()

    def _check_loss(self) -> None:
        if (bad := self.meter.bad_step()) is not None:
            raise self._diverged("loss", bad + 1)

    def _check_weights(self) -> None:
        """A last step can spoil weights after a loss that was still finite; such weights must not be kept."""
        if not all(bool(torch.isfinite(tensor).all()) for tensor in self.raw.state_dict().values()):
            raise self._diverged("weights", self.step)

    def _diverged(self, what: str, step: int) -> StkdError:
        last = self.dir.last
        kept = f"the last good checkpoint is {last}" if last.exists() else "there is no checkpoint yet"
        return StkdError(
            f"the {what} became NaN or infinite at epoch {self.epoch + 1}, step {step}; {kept}; "
            f"try a smaller --lr (now {self.lr:g}), --clip-norm 1, --warmup-epochs 1 or --precision 32, with another "
            "--out"
        )

    def _end_epoch(self, images_per_s: float) -> None:
        means = self.meter.means()
        last = self.epoch + 1 == self.config.epochs
        row: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "lr": self.optimizer.param_groups[0]["lr"],
            **{f"train_{name}": value for name, value in means.items()},
            "images_per_s": round(images_per_s, 1),
            "seconds": round(self.seconds, 2),
        }
        if last or (self.epoch + 1) % self.config.eval_every == 0:
            for split, scores in self._scores(self.raw).items():
                row |= {f"{split}_{name}": value for name, value in scores.items()}
        self.epoch, self.step = self.epoch + 1, 0
        self.meter.reset()
        self.rows.append(row)
        self._keep_best(row)
        if self.fabric.is_global_zero:
            # before the checkpoint, since a run that is killed after its last one has no epoch left to log
            self.dir.log(self.rows)
            for logger in self.fabric.loggers:
                logger.log_metrics({k: v for k, v in row.items() if k != "epoch"}, step=self.epoch)
                logger.save()
        if last or self.epoch % self.config.checkpoint_epochs == 0:
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
        top1 = row.get("val_top1")
        if top1 is None or (self.best is not None and top1 <= self.best["val_top1"]):
            return
        self.best = {"epoch": row["epoch"], "val_top1": top1, "test_top1": row.get("test_top1")}
        if self.fabric.is_global_zero:
            save_model(self.raw, self.dir.checkpoints / "best.safetensors", self.job.card)

    def _stop(self, signum: int) -> None:
        self._check_finite()
        self._save()
        raise Interrupted(
            signum,
            f"stopped at epoch {self.epoch + 1}, step {self.step}; checkpoint written to {self.dir.last}; "
            "run the same command again to go on",
        )

    def _save(self) -> None:
        if not self.fabric.is_global_zero:
            return
        state = {
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "student": self.raw.state_dict(),
            "extras": self.extras.state_dict() if self.extras is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            "meter": self.meter.state_dict(),
            "best": self.best,
            "rows": self.rows,
            "identity": self.identity,
        }
        save_checkpoint(self.dir.last, state)

    def _restore(self, state: dict[str, Any]) -> None:
        for what, digest in self.identity.items():
            if state["identity"][what] != digest:
                raise StkdError(
                    f"the {what} changed since {self.dir.path} was started; bring it back, or give another --out"
                )
        self.raw.load_state_dict(state["student"])
        if self.extras is not None:
            self.extras.load_state_dict(state["extras"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.meter.load_state_dict(state["meter"])
        self.epoch, self.step, self.seconds = state["epoch"], state["step"], state["seconds"]
        self.best, self.rows = state["best"], state["rows"]
        torch.set_rng_state(state["rng"])
        if state["cuda_rng"] and torch.cuda.is_available():
            torch.cuda.set_rng_state_all(state["cuda_rng"])

    def _finish(self) -> dict[str, Any]:
        row = self.rows[-1]
        images = self.config.epochs * self.loader.steps * min(self.config.batch_size, len(self.job.data.train))
        result: dict[str, Any] = {
            "epochs": self.config.epochs,
            **{split: {"top1": row[f"{split}_top1"], "nll": row[f"{split}_nll"]} for split in self._split_names()},
            "train_accuracy": row["train_accuracy"],
            "seconds": round(self.seconds, 2),
            "images_seen": images,
            "teacher_passes": images if self.teacher is not None else 0,
            "precision": self.fabric.strategy.precision.precision,
            "lr": self.lr,
            "method": dataclasses.asdict(self.job.method),
            "mix": dataclasses.asdict(self.job.mix),
            "best_on_validation": self.best,
        }
        if self.fabric.is_global_zero:
            if self.ema is not None:
                result["ema"] = self._scores(self.ema.module)
                save_model(self.ema.module, self._weights("_ema"), self.job.card)
            save_model(self.raw, self._weights(), self.job.card)
            self.dir.finish(result)
        return result

    def _split_names(self) -> list[str]:
        return [name for name in ("val", "test") if f"{name}_top1" in self.rows[-1]]

    def _weights(self, suffix: str = "") -> Path:
        file = Path(self.job.weights_name)
        return self.dir.path / f"{file.stem}{suffix}{file.suffix}"
