"""Timing the bare loop and the real training step in turn, so that a busy machine disturbs both alike."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from torch import nn

from ... import models
from ...core.config import DistillConfig
from ...core.errors import StkdError, check_range
from ...data import DataSet
from ...evaluation import macs
from ...models.files import find_weights, read_info
from ...runs.directory import RunDirectory
from ...runs.environment import environment
from ...training.engines import Known
from ...training.learner import Learner
from ...training.session import Job, Session, open_session
from ...training.work import live_models
from .bare_process import bare_loop
from .clock import rate
from .parts import endless, milliseconds_by_part, shares
from .random_data import random_data
from .rates import copy_rate, product_rate
from .result import BenchResult, Flops, Memory

__all__ = ["bench"]

_LONG = 10**6  # epochs: as in a long run, for which everything that `auto` may choose pays

_MOST_BYTES = 1 << 33


def bench(
    teacher: str | None,
    student: str,
    *,
    teacher_weights: Path | None = None,
    method: str = "stkd",
    batch_size: int = 64,
    image_size: int = 32,
    classes: int = 100,
    precision: Literal["auto", "32", "bf16", "16"] = "auto",
    teacher_precision: Literal["auto", "32", "bf16", "int8"] = "auto",
    teacher_engine: Literal["auto", "torch", "openvino"] = "auto",
    compile: Literal["auto", "none", "teacher", "all"] = "auto",
    accelerator: str = "auto",
    pairs: int = 5,
    seconds: float = 2.0,
) -> BenchResult:
    """Time the training step of a pair on random images, as `stkd distill` would run it in a long run.

    Args:
        teacher, student: Model names; the teacher's may be left out where its weights say it.
        teacher_weights: Of a trained teacher; its classes and the size of its images go before `classes` and
            `image_size` where the file says them. None takes random ones, which cannot tell whether an int8 teacher is
            accurate enough: then int8 is measured only where it is asked for.
        method: Method, with options if wanted.
        batch_size: Images in a step.
        image_size: Side in pixels.
        classes: Number of classes.
        precision, teacher_precision, teacher_engine, compile, accelerator: As in `stkd distill`.
        pairs: Runs of the bare loop and of the step, in turn.
        seconds: Length of one such run, about.

    Returns:
        Speeds of both loops and their ratio, milliseconds of a step by part, rates against those of the device, peak
        memory, what `auto` chose, and the environment.

    Raises:
        StkdError: A name or number is wrong.
    """
    bounds = {"batch_size": 1 << 20, "image_size": 4096, "classes": 1 << 20, "pairs": 1000}
    for name, value in zip(bounds, (batch_size, image_size, classes, pairs), strict=True):
        check_range(name, value, 1, bounds[name])
    check_range("seconds", seconds, 0, 3600)
    info = read_info(find_weights(teacher_weights)) if teacher_weights is not None else None
    names = tuple(map(str, range(classes))) if info is None else info.classes
    size, channels = (image_size, 3) if info is None else (info.size, info.channels)
    images = batch_size * (64 if size <= 64 else 16)
    if (space := images * channels * size**2) > _MOST_BYTES:
        raise StkdError(f"the random images would take {space / 1e9:,.0f} GB; take a smaller batch size or image size")
    data = random_data(images, size, names, channels)
    with TemporaryDirectory() as folder:
        config = DistillConfig(
            data="random",
            out=Path(folder) / "run",
            teacher=teacher if teacher is not None or info is None else info.model,
            teacher_weights=teacher_weights,
            student=student,
            method=method,
            batch_size=batch_size,
            epochs=_LONG,
            precision=precision,
            teacher_precision=teacher_precision,
            teacher_engine=teacher_engine,
            compile=compile,
            accelerator=accelerator,
        )
        return _measure(config, data, pairs, seconds)


def _measure(config: DistillConfig, data: DataSet, pairs: int, seconds: float) -> BenchResult:
    if config.teacher is None:
        raise StkdError("give --teacher NAME, or --teacher-weights RUN, whose file says which model they are for")
    module: nn.Module | None = None
    if config.teacher_weights is None:
        module = models.create(
            config.teacher, num_classes=len(data.classes), in_channels=data.channels, image_size=data.size
        )
    with open_session([Job.of(config)], data=data, teacher=module) as session, RunDirectory(config) as run:
        session.choose_engines(Known(random_weights=module is not None))
        student, (teacher,) = session.students[0].module, live_models(session.teacher)
        work = macs(teacher.module, data.channels, data.size) + 3 * macs(student.eval(), data.channels, data.size)
        return _timed(config, session, Learner(session.students[0], session, run), work, pairs, seconds)


def _timed(
    config: DistillConfig, session: Session, learner: Learner, work: int, pairs: int, seconds: float
) -> BenchResult:
    assert config.teacher is not None
    data, loader, fabric, device = session.data, session.loader, session.fabric, session.fabric.device
    learner.model.train()
    batches = endless(loader)

    def ours(steps: int) -> float:
        return rate(lambda: learner.make_step(next(batches)), device, steps)

    with bare_loop(config.teacher, config.student, data, config.batch_size, device) as bare:
        counts = [(call, _steps(call, seconds)) for call in (bare, ours)]
        speeds = [[config.batch_size * call(steps) for call, steps in counts] for _ in range(pairs)]
    of_bare, of_ours = ([s[i] for s in speeds] for i in (0, 1))
    flops = 2 * work * median(of_ours)
    parts = milliseconds_by_part(learner.step, loader, min(20, counts[1][1]))
    dtype = torch.float32 if fabric.strategy.precision.precision.startswith("32") else torch.bfloat16
    peak = product_rate(device, dtype)
    return BenchResult(
        teacher=config.teacher,
        student=config.student,
        method=config.method,
        batch_size=config.batch_size,
        image_size=data.size,
        images_per_s=round(median(of_ours), 1),
        bare_images_per_s=round(median(of_bare), 1),
        ratio=round(median(ours / bare for bare, ours in speeds), 3),
        pairs=[(round(bare, 1), round(ours, 1)) for bare, ours in speeds],
        parts=parts,
        shares=shares(parts),
        teacher_weights="random" if config.teacher_weights is None else "trained",
        flops=Flops(flops, peak, round(flops / peak, 3), str(dtype).removeprefix("torch.")),
        memory=Memory(_peak_memory(device), copy_rate(device)),
        speed=learner.student.engines,
        precision=fabric.strategy.precision.precision,
        device=str(device),
        environment=environment(),
    )


def _steps(rate: Callable[[int], float], seconds: float) -> int:
    """Steps that take about so long, after warm-up."""
    rate(3)
    return max(2, round(seconds * rate(3)))


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
