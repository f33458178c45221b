"""How a teacher's model is run: by torch, or on a CPU by OpenVINO in bf16, or in int8 where answers stay the same."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.config import DistillConfig
from ..core.devices import fast_bfloat16
from ..core.errors import StkdError
from ..core.fabric import Fabric
from ..data.loader import TrainLoader
from ..methods import Method
from ..methods.base import REAL
from ..models.compilation import Execution, compiled
from .live import LiveTeacher
from .onnx_file import OnnxModel
from .openvino import Engine, can_run

__all__ = ["batches_after", "release", "set_runner"]

_CALIBRATION, _CHECK = 8, 16  # batches
_AGREEMENT, _KL = 0.99, 2e-3  # what int8 must keep: share of equal top-1 classes, and nats at the temperature

_log = logging.getLogger(__name__)


def batches_after(loader: TrainLoader, epochs: int) -> Iterator[Tensor]:
    """Images of the batches of the epoch after the last, over and over: virtual samples that are not trained on."""
    while True:
        yield from (batch.images for batch in loader.epoch(epochs))


def release(teachers: Sequence[LiveTeacher]) -> None:
    """Free the engines of teachers, the last made first.

    OpenVINO gives the process a stack for signals with each engine, and takes back the one before when it is freed. In
    another order the next signal would meet memory that is gone, and end the process.

    Args:
        teachers: In the order in which their engines were made.
    """
    for teacher in reversed(teachers):
        teacher.runner = teacher.module


def set_runner(
    teacher: LiveTeacher,
    config: DistillConfig,
    methods: Sequence[Method],
    loader: TrainLoader,
    fabric: Fabric,
    *,
    compile: bool,
    engine_pays: bool,
    int8_pays: bool,
) -> None:
    """Choose how a teacher is run in training, set its `runner` and say so in its `record`.

    The choice depends on config, data and machine, never on a clock, so that a resumed run chooses alike. In int8 it
    must agree with itself in float32 on the top-1 class of 99 % of training images, cropped and flipped but not mixed
    (a mixed image has two near classes), and stay near it in KL on virtual samples.

    Args:
        teacher: On its device, tapped if a method wants that.
        config, loader, fabric: Of the run.
        methods: Those that learn from it.
        compile: Compile what torch runs.
        engine_pays, int8_pays: The run is long enough to convert the teacher to bf16, and to try it in int8.

    Raises:
        StkdError: What was asked for is not possible here.
    """
    asked, device = config.teacher_precision, fabric.device
    if isinstance(teacher.module, OnnxModel):
        if asked != "auto":
            raise StkdError(f"{teacher.name} runs as its file is, in onnxruntime; leave out --teacher-precision")
        teacher.record = [{"precision": "32", "engine": "onnxruntime"}]
        return
    features = any(method.needs for method in methods)
    if asked == "int8":
        if features:
            raise StkdError(
                f"method {config.method!r} looks at the teacher's features, which an int8 teacher does not show; "
                "take --teacher-precision bf16"
            )
        if device.type != "cpu":
            raise StkdError("an int8 teacher runs on a CPU; on a GPU take --teacher-precision bf16")
        _run_int8(teacher, config, methods, loader)
        return
    sample = teacher.preprocess(next(batches_after(loader, config.epochs)))
    wanted = asked == "bf16" or (asked == "auto" and config.precision == "auto")
    able = device.type == "cpu" and fast_bfloat16(device) and can_run("bf16") and not features
    if wanted and able and engine_pays:
        try:
            if not (asked == "auto" and int8_pays and can_run("int8") and _run_int8(teacher, config, methods, loader)):
                release([teacher])
                teacher.runner = Engine(teacher.module, "bf16", [sample])
                tried = teacher.record[0] if teacher.record else {}
                teacher.record = [{**tried, "precision": "bf16", "engine": "openvino"}]
            return
        except StkdError as error:
            _log.warning("%s", error)
    answer = _in_precision(asked, fabric)
    module: nn.Module = teacher.module
    execution: Execution = "eager"
    if compile:
        with torch.no_grad():
            module, execution = compiled(module, sample, answer)
    teacher.runner = lambda images: answer(module, images)
    precision = fabric.strategy.precision.precision if asked == "auto" else asked
    teacher.record = [{"precision": precision, "engine": "torch", "execution": execution}]


def _run_int8(teacher: LiveTeacher, config: DistillConfig, methods: Sequence[Method], loader: TrainLoader) -> bool:
    """Run the teacher in int8, log how near it is to itself in float32, and return whether that is near enough."""
    virtual = [teacher.preprocess(x) for x in islice(batches_after(loader, config.epochs), _CALIBRATION + _CHECK)]
    real = islice(batches_after(loader.with_mix(REAL), config.epochs), _CALIBRATION, _CALIBRATION + _CHECK)
    engine = Engine(teacher.module, "int8", virtual[:_CALIBRATION])
    agreement, _ = _nearness(teacher.module, engine, [teacher.preprocess(x) for x in real], 1.0)
    temperature = float(getattr(methods[0], "temperature", 1.0))
    _, kl = _nearness(teacher.module, engine, virtual[_CALIBRATION:], temperature)
    near = agreement >= _AGREEMENT and kl <= _KL
    teacher.runner = engine
    check = {"agreement": round(agreement, 4), "kl": round(kl, 6), "temperature": temperature}
    teacher.record = [{"precision": "int8", "engine": "openvino", "int8": check}]
    use = "used" if near else "used as asked" if config.teacher_precision == "int8" else "too far, so it runs in bf16"
    _log.info("teacher in int8: %.2f%% of its classes are those of float32, KL %.1g: %s", 100 * agreement, kl, use)
    return near


@torch.no_grad()
def _nearness(module: nn.Module, engine: Engine, batches: Sequence[Tensor], temperature: float) -> tuple[float, float]:
    """Share of equal top-1 classes, and mean KL(module || engine) at a temperature."""
    same = total = divergence = 0.0
    for images in batches:
        own, other = module(images).float(), engine(images)
        same += float((own.argmax(1) == other.argmax(1)).sum())
        total += len(images)
        own, other = (F.log_softmax(logits / temperature, dim=1) for logits in (own, other))
        divergence += float(F.kl_div(other, own, reduction="sum", log_target=True))
    return same / total, divergence / total


def _in_precision(asked: str, fabric: Fabric) -> Callable[[nn.Module, Tensor], Tensor]:
    """Runs a module in a precision of its own, or in the run's."""

    def answer(module: nn.Module, images: Tensor) -> Tensor:
        if asked == "auto":
            context: Any = fabric.autocast()
        else:
            context = torch.autocast(images.device.type, torch.bfloat16, enabled=asked == "bf16")
        with context:
            logits: Tensor = module(images)
        return logits

    return answer
