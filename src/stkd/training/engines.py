"""How teacher and students are run: chosen from config and machine alone, so that a resumed run goes on alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from ..core.config import DistillConfig, TrainConfig
from ..core.fabric import Fabric
from ..data import DataSet
from ..data.loader import TrainLoader
from ..data.plan import steps_per_epoch
from ..evaluation import macs
from ..methods import Method
from ..mixing import Mix
from ..models.compilation import Execution, compiled, compiling_pays
from ..teachers import Ensemble, LiveTeacher, Teacher
from ..teachers.engines import batches_after, set_runner
from .student import Student

__all__ = ["choose_student_engine", "choose_teacher_engine", "live_models", "work_of"]

_ENGINE_PAYS, _INT8_PAYS = 2.5e12, 7e13
"""Multiply-accumulates of a run from which converting the teacher to bf16, and trying it in int8, pay: estimates."""


def choose_teacher_engine(
    config: DistillConfig,
    methods: Sequence[Method],
    teacher: Teacher | None,
    loader: TrainLoader,
    fabric: Fabric,
    work: float,
) -> None:
    """Choose how the models of a teacher are run; its `record` says so.

    A model whose features a method looks at is not compiled: its hooks would be part of code that torch keeps for all
    models of a class.

    Args:
        config: The options.
        methods: Those of all students.
        teacher: On its device, tapped if a method wants that.
        loader: The batches.
        fabric: Device and precision.
        work: Multiply-accumulates of the run.

    Raises:
        StkdError: A precision was asked for that is not possible here.
    """
    worth = {"engine_pays": work >= _ENGINE_PAYS, "int8_pays": work >= _INT8_PAYS}
    compile = _compiles("teacher", config, fabric, work) and not any(method.needs for method in methods)
    for model in live_models(teacher):
        set_runner(model, config, methods, loader, fabric, compile=compile, **worth)


def choose_student_engine(student: Student, loader: TrainLoader, work: float) -> Execution:
    """Choose how a student is run and set its `fast`.

    Args:
        student: On its device.
        loader: The batches.
        work: Multiply-accumulates of the run.

    Returns:
        What was chosen, for the record.
    """
    config, fabric = student.config, student.fabric
    student.module.train()
    if student.features is not None or not _compiles("student", config, fabric, work):
        return "eager"
    loader.compile()

    def answer(module: nn.Module, images: Tensor) -> Tensor:
        with fabric.autocast():
            # as Fabric does around the student; a graph is compiled for one type of input
            logits: Tensor = module(fabric.strategy.precision.convert_input(images))
        return logits

    student.fast, execution = compiled(student.module, next(batches_after(loader, config.epochs)), answer)
    return execution


def _compiles(
    role: Literal["teacher", "student"], config: TrainConfig | DistillConfig, fabric: Fabric, work: float
) -> bool:
    if fabric.world_size > 1:
        return False  # each process would have to make the same choice after a failure
    return (
        compiling_pays(fabric.device, fabric.strategy.precision.precision, work)
        if config.compile == "auto"
        else config.compile in ("all", role)
    )


def work_of(
    config: TrainConfig | DistillConfig, student: nn.Module | None, teacher: Teacher | None, data: DataSet, mix: Mix
) -> float:
    """Multiply-accumulates of a run; a backward pass costs as much as two forward passes.

    Args:
        config: Its options.
        student: None counts the teacher alone.
        teacher: None counts the student alone.
        data: For the size of the images and of an epoch.
        mix: For the rows of a batch: real images beside virtual ones are rows too.
    """
    row = sum(macs(model.module, model.info.channels, model.info.size) for model in live_models(teacher))
    if student is not None:
        mode = student.training
        row += 3 * macs(student.eval(), data.channels, data.size)
        student.train(mode)
    images = len(data.train)
    steps = steps_per_epoch(images, config.batch_size, drop_last=config.drop_last)
    return float(row) * mix.rows(min(images, config.batch_size)) * steps * config.epochs


def live_models(teacher: Teacher | None) -> list[LiveTeacher]:
    """The teachers that run a model; a cache looks its answers up."""
    if isinstance(teacher, Ensemble):
        return teacher.teachers
    return [teacher] if isinstance(teacher, LiveTeacher) else []
