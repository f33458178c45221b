"""What runs students: the precision of a session, and compiling."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from ..core.fabric import make_fabric
from ..data.loader import TrainLoader
from ..models.compilation import compiled
from ..teachers.engines import batches_after
from .choice import StudentPrecision
from .student import Student

if TYPE_CHECKING:
    from .session import Session

__all__ = ["compile_students", "set_precision"]

_BY_FABRIC = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed", "64": "64-true"}


def set_precision(session: Session, precision: StudentPrecision) -> None:
    """Give a session and its students a Fabric of a precision, before anything of theirs is set up by one."""
    if session.fabric.strategy.precision.precision == _BY_FABRIC[precision]:
        return
    session.fabric = make_fabric(replace(session.jobs[0].config, precision=precision))
    for place, student in enumerate(session.students):
        own = replace(student.config, precision=precision)
        student.fabric = make_fabric(own) if place else session.fabric


def compile_students(session: Session) -> bool:
    """Compile the students whose features no method looks at; False where that fails."""
    done = [_compile(student, session.loader) for student in session.students if student.features is None]
    return all(done)


def _compile(student: Student, loader: TrainLoader) -> bool:
    if student.fast is not student.module:
        return True
    loader.compile()

    def answer(module: nn.Module, images: Tensor) -> Tensor:
        with student.fabric.autocast():
            # as Fabric does around the student; a graph is compiled for one type of input
            logits: Tensor = module(student.fabric.strategy.precision.convert_input(images))
        return logits

    mode = student.module.training
    images = next(batches_after(loader, student.config.epochs))
    student.fast, execution = compiled(student.module.train(), images, answer)
    student.module.train(mode)
    return execution == "compiled"
