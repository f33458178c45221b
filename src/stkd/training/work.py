"""How much a run computes, counted without a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from ..core.config import DistillConfig, TrainConfig
from ..data import DataSet
from ..data.plan import steps_per_epoch
from ..data.samples import unlabelled_of
from ..evaluation import macs
from ..mixing import Mix
from ..teachers import Ensemble, LiveTeacher, Teacher

if TYPE_CHECKING:
    from .session import Session

__all__ = ["live_models", "work_of", "work_of_session"]


def work_of_session(session: Session) -> float:
    """Multiply-accumulates of a session: those of the teacher once, of all students."""
    config, data, mix = session.jobs[0].config, session.data, session.mix
    work = work_of(config, None, session.teacher, data, mix)
    return work + sum(work_of(student.config, student.module, None, data, mix) for student in session.students)


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
    unlabelled = unlabelled_of(config, data)
    steps = steps_per_epoch(images, config.batch_size, drop_last=config.drop_last, unlabelled=unlabelled)
    return float(row) * mix.rows(min(images, config.batch_size)) * steps * config.epochs


def live_models(teacher: Teacher | None) -> list[LiveTeacher]:
    """The teachers that run a model; a cache looks its answers up."""
    if isinstance(teacher, Ensemble):
        return teacher.teachers
    return [teacher] if isinstance(teacher, LiveTeacher) else []
