"""How teacher and student are run: chosen from config and machine alone, so that a resumed run goes on alike."""

from __future__ import annotations

import time
from typing import Any, Literal

from torch import Tensor, nn

from ..core.config import DistillConfig, TrainConfig
from ..core.fabric import Fabric
from ..data import DataSet
from ..data.loader import TrainLoader
from ..evaluation import macs
from ..methods import Method
from ..teachers.engines import batches_after, set_runner
from ..teachers.live import Ensemble, Teacher
from .compilation import Way, compiled, pays

__all__ = ["speed_up", "speed_up_teacher", "student_macs", "work_of"]

_ENGINE_PAYS, _INT8_PAYS = 2.5e12, 7e13
"""Multiply-accumulates of a run from which converting the teacher to bf16, and trying it in int8, pay: estimates."""


def speed_up(
    config: TrainConfig | DistillConfig,
    method: Method,
    student: nn.Module,
    teacher: Teacher | None,
    data: DataSet,
    loader: TrainLoader,
    fabric: Fabric,
) -> tuple[nn.Module, dict[str, Any]]:
    """Choose how to run teacher and student, and make them ready.

    Args:
        config: The options of the run.
        method: Decides whether the teacher is needed for its logits alone.
        student: On its device, tapped if the method wants that.
        teacher: The same; how it answers is set in place, once for all students.
        data: For the size of the images and of an epoch.
        loader: The batches of the run.
        fabric: Device and precision.

    Returns:
        The student as the training step calls it, and what was chosen, for the record.

    Raises:
        StkdError: A precision of the teacher was asked for that is not possible here.
    """
    began = time.monotonic()
    work = work_of(config, student, teacher, data)
    record: dict[str, Any] = {}
    if isinstance(config, DistillConfig):
        record["teachers"] = speed_up_teacher(config, method, teacher, loader, fabric, work)
    fast: nn.Module = student.train()
    way: Way = "eager"
    if _compiles("student", config, fabric, student, work):
        loader.compile()

        def answer(module: nn.Module, images: Tensor) -> Tensor:
            with fabric.autocast():
                # as Fabric does around the student; a graph is compiled for one type of input
                logits: Tensor = module(fabric.strategy.precision.convert_input(images))
            return logits

        fast, way = compiled(student, next(batches_after(loader, config.epochs)), answer)
    return fast, {**record, "student": way, "setup_seconds": round(time.monotonic() - began, 1)}


def speed_up_teacher(
    config: DistillConfig,
    method: Method,
    teacher: Teacher | None,
    loader: TrainLoader,
    fabric: Fabric,
    work: float,
) -> list[dict[str, Any] | None]:
    """Choose how to run a teacher, where that is not chosen yet.

    Args:
        config, method, teacher, loader, fabric: As for `speed_up`.
        work: Multiply-accumulates of the run.

    Returns:
        What was chosen, for each model of the teacher.
    """
    worth = {"engine_pays": work >= _ENGINE_PAYS, "int8_pays": work >= _INT8_PAYS}
    for one in _live(teacher):
        if one.record is None:
            compile = _compiles("teacher", config, fabric, one.module, work)
            set_runner(one, config, method, loader, fabric, compile=compile, **worth)
    return [one.record for one in _live(teacher)]


def _compiles(
    role: Literal["teacher", "student"],
    config: TrainConfig | DistillConfig,
    fabric: Fabric,
    module: nn.Module,
    work: float,
) -> bool:
    if fabric.world_size > 1:
        return False  # each process would have to make the same choice after a failure
    return pays(module, fabric.device, work) if config.compile == "auto" else config.compile in ("all", role)


def work_of(
    config: TrainConfig | DistillConfig, student: nn.Module | None, teacher: Teacher | None, data: DataSet
) -> float:
    """Multiply-accumulates of a run; a backward pass costs as much as two forward passes."""
    an_image = sum(macs(one.module, one.info.channels, one.info.size) for one in _live(teacher))
    if student is not None:
        an_image += 3 * student_macs(student, data)
    return float(an_image) * len(data.train) * config.epochs


def student_macs(student: nn.Module, data: DataSet) -> int:
    """Multiply-accumulates of a student's forward pass of one image; it stays in its mode."""
    mode = student.training
    found = macs(student.eval(), data.channels, data.size)
    student.train(mode)
    return found


def _live(teacher: Teacher | None) -> list[Teacher]:
    """The teachers that run a model; others look their answers up."""
    if isinstance(teacher, Ensemble):
        return [one for member in teacher.teachers for one in _live(member)]
    return [teacher] if type(teacher) is Teacher else []
