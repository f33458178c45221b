"""How a teacher's model is run in training, by torch or on a CPU by OpenVINO, and how near to itself that leaves it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import StkdError
from ..core.fabric import Fabric
from ..data.loader import TrainLoader
from ..methods.base import REAL
from ..models.compilation import Execution, compiled
from .live import LiveTeacher
from .onnx_file import OnnxModel
from .openvino import Engine, can_run, named

__all__ = [
    "Nearness",
    "TeacherEngine",
    "batches_after",
    "close_all",
    "make_runner",
    "nearness",
    "own_engine",
    "release",
]

Precision = Literal["32", "bf16", "16", "int8", "64"]

_CALIBRATION, _CHECK = 8, 16  # batches
_AGREEMENT, _KL = 0.99, 2e-3  # what a lower precision must keep: share of equal top-1 classes, and nats


@dataclass(frozen=True)
class Nearness:
    """How near a teacher in another arithmetic is to itself in float32.

    Attributes:
        agreement: Share of training images, cropped and flipped but not mixed, with the same top-1 class (a mixed image
            has two near classes).
        kl: Mean KL divergence from the answers in float32 on virtual samples, in nats.
        temperature: That of the divergence.
    """

    agreement: float
    kl: float
    temperature: float

    @property
    def enough(self) -> bool:
        """Whether it may stand for itself without being asked for."""
        return self.agreement >= _AGREEMENT and self.kl <= _KL

    def __str__(self) -> str:
        return f"{100 * self.agreement:.2f} % of its classes are those of float32, KL {self.kl:.1g}"

    def record(self) -> dict[str, float]:
        """As result files hold it."""
        return {
            "agreement": round(self.agreement, 4),
            "kl": round(self.kl, 6),
            "temperature": self.temperature,
        }


@dataclass(frozen=True)
class TeacherEngine:
    """What runs a teacher's model.

    Attributes:
        library: torch, or on a CPU OpenVINO; onnxruntime for a teacher that is an ONNX file.
        precision: Arithmetic.
        execution: How torch runs it.
    """

    library: Literal["torch", "openvino", "onnxruntime"] = "torch"
    precision: Precision = "32"
    execution: Execution = "eager"

    def __str__(self) -> str:
        compiled = ", compiled" if self.execution == "compiled" else ""
        by = {"torch": f"torch{compiled}", "openvino": "OpenVINO"}.get(self.library, self.library)
        return f"{named(self.precision)} by {by}"

    def record(self) -> dict[str, Any]:
        """As run directories hold it."""
        own = {"execution": self.execution} if self.library == "torch" else {}
        return {"precision": self.precision, "engine": self.library, **own}

    @classmethod
    def of(cls, record: dict[str, Any]) -> TeacherEngine:
        """The engine of a record."""
        return cls(record["engine"], record["precision"], record.get("execution", "eager"))

    @property
    def installed(self) -> bool:
        """Whether the packages that it takes are there."""
        return self.library != "openvino" or can_run(self.precision)  # type: ignore[arg-type]


ONNX_FILE = TeacherEngine("onnxruntime")
"""Runs a teacher that is an ONNX file, whatever runs others."""


def own_engine(teacher: LiveTeacher) -> TeacherEngine | None:
    """The engine of a teacher that no other can run; None of a module."""
    return ONNX_FILE if isinstance(teacher.module, OnnxModel) else None


Runner = Callable[[Tensor], Tensor]


def make_runner(
    teacher: LiveTeacher, engine: TeacherEngine, loader: TrainLoader, epochs: int, fabric: Fabric
) -> Runner:
    """What runs preprocessed images of a teacher.

    Args:
        teacher: On its device.
        engine: How.
        loader: Makes batches like those of the run; int8 takes its ranges from some of them.
        epochs: Of the run: batches after the last are not trained on.
        fabric: Device and precision of the run.

    Raises:
        StkdError: A package is missing, or OpenVINO cannot take the model.
    """
    if engine == ONNX_FILE:
        return teacher.module
    batches = (teacher.preprocess(images) for images in batches_after(loader, epochs))
    if engine.library == "openvino":
        kept = list(islice(batches, _CALIBRATION if engine.precision == "int8" else 1))
        return Engine(teacher.module, engine.precision, kept)  # type: ignore[arg-type]
    answer, module = _in_precision(engine.precision, fabric), teacher.module
    if engine.precision == "64":
        module = module.double()
        return lambda images: module(images.double())
    if engine.execution == "compiled":
        with torch.no_grad():
            module, execution = compiled(module, next(batches), answer)
        if execution != "compiled":
            raise StkdError("torch.compile fails for this teacher")
    return lambda images: answer(module, images)


def _in_precision(precision: str, fabric: Fabric) -> Callable[[nn.Module, Tensor], Tensor]:
    """Runs a module in a precision of its own, or in the run's."""
    same = {"32-true": "32", "bf16-mixed": "bf16", "16-mixed": "16"}.get(fabric.strategy.precision.precision)

    def answer(module: nn.Module, images: Tensor) -> Tensor:
        context: Any = (
            fabric.autocast()
            if precision == same
            else torch.autocast(images.device.type, torch.bfloat16, enabled=precision != "32")
        )
        with context:
            logits: Tensor = module(images)
        return logits

    return answer


def batches_after(loader: TrainLoader, epochs: int) -> Iterator[Tensor]:
    """Images of the batches of the epoch after the last, over and over: virtual samples that are not trained on."""
    while True:
        yield from (batch.images for batch in loader.epoch(epochs))


@torch.no_grad()
def nearness(teacher: LiveTeacher, runner: Runner, loader: TrainLoader, epochs: int, temperature: float) -> Nearness:
    """How near a runner is to the teacher in float32.

    Args:
        teacher: On its device.
        runner: Another way to run it.
        loader: Makes batches like those of the run.
        epochs: Of the run.
        temperature: Of the divergence.
    """
    taken = _CALIBRATION, _CALIBRATION + _CHECK  # int8 has seen the first ones
    virtual = islice(batches_after(loader, epochs), *taken)
    real = islice(_real_images(loader, epochs), *taken)
    agreement, _ = _compared(teacher, runner, real, 1.0)
    _, kl = _compared(teacher, runner, virtual, temperature)
    return Nearness(agreement, kl, temperature)


def _real_images(loader: TrainLoader, epochs: int) -> Iterator[Tensor]:
    """Batches of unmixed images, of as many rows as those of the run, which is what an engine takes."""
    rows = loader.own_rows(loader.mix.rows(min(loader.batch_size, len(loader.labels))))
    held: list[Tensor] = []
    for images in batches_after(loader.with_mix(REAL), epochs):
        held.append(images)
        if sum(map(len, held)) >= rows:
            yield torch.cat(held)[:rows]
            held = []


def _compared(
    teacher: LiveTeacher, runner: Runner, batches: Iterator[Tensor], temperature: float
) -> tuple[float, float]:
    """Share of equal top-1 classes, and mean KL(float32 || runner) at a temperature."""
    same = total = divergence = 0.0
    for batch in batches:
        images = teacher.preprocess(batch)
        own, other = teacher.module(images).float(), runner(images).float()
        same += float((own.argmax(1) == other.argmax(1)).sum())
        total += len(images)
        own, other = (F.log_softmax(logits / temperature, dim=1) for logits in (own, other))
        divergence += float(F.kl_div(other, own, reduction="sum", log_target=True))
    return same / total, divergence / total


def release(teachers: Sequence[LiveTeacher]) -> None:
    """Free the engines of teachers.

    Args:
        teachers: In the order in which their engines were made.
    """
    runners = [teacher.runner for teacher in teachers]
    for teacher in teachers:
        teacher.runner = teacher.module
        if any(record["precision"] == "64" for record in teacher.record):
            teacher.module.float()
    close_all(runners)


def close_all(runners: Sequence[Runner]) -> None:
    """Free engines, the last made first.

    OpenVINO gives the process a stack for signals with each engine, and takes back the one before when it is freed. In
    another order the next signal would meet memory that is gone, and end the process.

    Args:
        runners: In the order in which they were made.
    """
    for runner in reversed(runners):
        if isinstance(runner, Engine):
            runner.close()
