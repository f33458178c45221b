"""From options to what is ready to train: device, data, virtual samples, teacher, batches and students."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.config import DistillConfig, TrainConfig
from ..core.errors import StkdError
from ..core.fabric import Fabric, make_fabric, meet_others
from ..core.world import World
from ..data import DataSet
from ..data.loader import TrainLoader
from ..data.samples import make_loader
from ..data.selection import data_of, normalised
from ..data.unlabelled import with_unlabelled
from ..methods import Method
from ..methods.selection import method_of, mix_of
from ..mixing import Mix
from ..preflight import Subject
from ..runs.finished_run import asking_for_plugin
from ..teachers import Teacher
from ..teachers.classes import classes_of_teacher
from ..teachers.engines import release
from ..teachers.loan import borrowed
from ..teachers.selection import open_teacher
from .choice import Choice
from .engines import Known, choose_engines
from .stopwatch import Timer, timed
from .student import Student, check_labels, make_student
from .work import live_models

__all__ = ["Job", "Session", "common_mix", "open_session"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One student that is asked for.

    Attributes:
        config: Its options.
        method: The method that they name.
        module: Stands in for the model that they name.
    """

    config: TrainConfig | DistillConfig
    method: Method
    module: nn.Module | None = None

    @classmethod
    def of(cls, config: TrainConfig | DistillConfig, module: nn.Module | None = None) -> Job:
        """The job of a config, after its plug-in was loaded.

        Raises:
            StkdError: The plug-in fails, or there is no such method.
        """
        return cls(config, method_of(config), module)


@dataclass
class Session:
    """Everything that a training takes; several students of one session learn from the same answers of the teacher.

    Attributes:
        fabric: Device and precision.
        world: The processes.
        data: The data set.
        mix: How virtual samples are made.
        loader: The batches.
        teacher: On the device; None if no method uses one.
        students: One a job, on the device, with its initial weights.
        jobs: What was asked for.
        facts: What the preflight looked at, see `Report`; empty without one.
    """

    jobs: Sequence[Job]
    fabric: Fabric
    world: World
    data: DataSet
    mix: Mix
    loader: TrainLoader
    teacher: Teacher | None
    students: list[Student] = field(default_factory=list)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def subject(self) -> Subject:
        """What a preflight looks at."""
        config, students = self.jobs[0].config, [student.module for student in self.students]
        return Subject(
            config,
            self.data,
            self.mix,
            self.loader.whole(),
            self.fabric.device,
            self.teacher,
            students,
            seconds=config.preflight_seconds,
            processes=self.world.size,
        )

    def choose_engines(self, known: Known | None = None, timer: Timer | None = None) -> Choice:
        """Choose how teacher and students are run; by trial where that pays, which can take a minute.

        Args:
            known: What is known before, of a run that goes on or of others of its study.
            timer: Says how long something takes; None looks at a clock.

        Returns:
            What was chosen.

        Raises:
            StkdError: An engine that was asked for, or that the run was begun with, is not possible here.
        """
        began = time.monotonic()
        torch.compiler.reset()  # torch keeps what it compiled for at most eight models of a class
        choice = choose_engines(self, known or Known(), timer or timed)
        for student in self.students:
            student.engines = {
                "by": choice.by,
                "teachers": [] if self.teacher is None else self.teacher.record,
                "student": "eager" if student.fast is student.module else "compiled",
                "setup_seconds": round(time.monotonic() - began, 1),
            }
        return choice


@contextmanager
def open_session(
    jobs: Sequence[Job], *, data: DataSet | None = None, teacher: nn.Module | None = None, students: bool = True
) -> Iterator[Session]:
    """Make ready what jobs ask for; when it is left, models have no hooks of ours, and a given teacher is as before.

    Args:
        jobs: One or more, with the same data, virtual samples, batches and teacher.
        data, teacher: Stand in for what the configs name.
        students: Whether students are wanted; a teacher's cache is written without.

    Raises:
        StkdError: An option, a name or a file is wrong, or the jobs would not see the same samples.
    """
    config = jobs[0].config
    methods = [job.method for job in jobs]
    mix = common_mix(jobs)
    world, fabric = meet_others(config), make_fabric(config)
    with world.first_before_others():  # what it decodes, they find decoded
        data = data_of(config) if data is None else normalised(config, data)
        if isinstance(config, DistillConfig) and config.unlabelled is not None:
            data = _beside(config, config.unlabelled, data, methods)
    rows = mix.rows(min(config.batch_size, len(data.train)))
    if rows < world.size:
        raise StkdError(f"{world.size} processes cannot share a batch of {rows}; give a larger --batch-size")
    for job in jobs if students else ():
        check_labels(job.config, job.method, data)
    with ExitStack() as stack:
        if teacher is not None:
            stack.enter_context(borrowed(teacher))
        source: Teacher | None = None
        if isinstance(config, DistillConfig) and any(method.uses_teacher for method in methods):
            if not data.classes:
                data = replace(data, classes=classes_of_teacher(config, data.name))
            with asking_for_plugin(config.teacher_weights):
                source = open_teacher(config, methods, mix, fabric, data, teacher)
            stack.callback(release, live_models(source))
        session = Session(jobs, fabric, world, data, mix, make_loader(config, data, mix, fabric), source)
        for job in jobs if students else ():
            own = make_fabric(job.config) if session.students else fabric  # the scaler of 16-bit floats has a state
            student = make_student(job.config, job.module, job.method, own, data, source, session.loader.labels)
            session.students.append(student)
            if student.features is not None:
                stack.callback(student.features.close)
        yield session


def _beside(config: DistillConfig, folder: Path, data: DataSet, methods: Sequence[Method]) -> DataSet:
    """The data set with unlabelled images, where a method uses a teacher, who alone can teach them.

    Raises:
        StkdError: They cannot be had, or a batch has no place for them.
    """
    if not any(method.uses_teacher for method in methods):
        _log.info("%s has no teacher: the unlabelled images are left out", config.method)
        return data
    if config.batch_size < 2:
        raise StkdError("a batch with --unlabelled has labelled images and others; give --batch-size 2 or more")
    return with_unlabelled(data, folder, skip_bad=config.skip_bad)


def common_mix(jobs: Sequence[Job]) -> Mix:
    """The virtual samples that all jobs ask for.

    Raises:
        StkdError: They ask for different ones.
    """
    first = jobs[0].config
    for job in jobs:
        for name, mend in (("drop_last", "--drop-last true"), ("norm", "--norm data")):
            if getattr(job.config, name) != getattr(first, name):
                raise StkdError(
                    f"{first.out.name} and {job.config.out.name} would see other batches, since one of them was begun "
                    f"by an earlier version; give {mend}"
                )
    mixes = [mix_of(job.config, job.method) for job in jobs]
    for job, mix in zip(jobs, mixes, strict=True):
        if mix != mixes[0]:
            raise StkdError(
                f"{jobs[0].config.out.name} and {job.config.out.name} would see other samples ({_words(mixes[0])}, "
                f"{_words(mix)}); choose them for all with --mix, or run them apart"
            )
    return mixes[0]


def _words(mix: Mix) -> str:
    words = f"{mix.kind} of {mix.instances}" if mix.active else "no mixing"
    return f"{words}, with strong views" if mix.strong else words
