"""How teacher and students are run: chosen once, by trial where a run is long, and kept when the run goes on."""

from __future__ import annotations

import logging
from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..core.devices import fast_bfloat16
from ..core.errors import StkdError
from ..teachers import LiveTeacher
from ..teachers.engines import Runner, TeacherEngine, make_runner, nearness, own_engine
from ..teachers.openvino import named
from .choice import Choice, SharedChoice, StudentPrecision
from .engine_options import EngineOptions
from .stopwatch import Timer
from .student_engines import compile_students, set_precision
from .trial import Trial
from .work import live_models, work_of_session

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Known", "choose_engines"]

_log = logging.getLogger(__name__)

_TRIAL_FROM = {"cpu": 1e12, "cuda": 1e14}
"""Multiply-accumulates of a run below which it takes a few minutes at most; nothing is timed there."""


@dataclass(frozen=True)
class Known:
    """What is known before engines are chosen.

    Attributes:
        kept: What the run was begun with, if it goes on.
        changed: Options of now that differ from those that it was begun with: "compile", "teacher_engine".
        shared: The choice of the study that the run belongs to.
        random_weights: The teacher's weights tell nothing about its answers, so that int8 is left out.
        earlier_version: An earlier version began the run, and did not record what ran it.
    """

    kept: Choice | None = None
    changed: Collection[str] = ()
    shared: SharedChoice | None = None
    random_weights: bool = False
    earlier_version: bool = False


def choose_engines(session: Session, known: Known, timer: Timer) -> Choice:
    """Choose what runs teacher and students of a session, and have it run them.

    Args:
        session: Its `fabric` and those of its students get the precision that is chosen.
        known: What is known before.
        timer: Says how long something takes.

    Returns:
        What was chosen.

    Raises:
        StkdError: An engine that was asked for, or that belongs to the run, is not possible here.
    """
    choosing = _Choosing(session, known, timer)
    if known.kept is not None:
        kept = replace(known.kept, precision=known.kept.precision or choosing.options.plain_precision)
        return choosing.use(choosing.changed(kept), kept=True)
    if known.earlier_version:
        return choosing.use(choosing.of_earlier_version(), kept=False)
    with nullcontext(Choice()) if known.shared is None else known.shared.held() as begun:
        choice = choosing.use(choosing.completed(begun), kept=False)
        if known.shared is not None:
            teachers = begun.teachers if session.teacher is None else choice.teachers
            known.shared.write(replace(choice, teachers=teachers))
    return choice


class _Choosing:
    """The choice for one session."""

    def __init__(self, session: Session, known: Known, timer: Timer) -> None:
        self.session, self.known, self.timer = session, known, timer
        self.config, self.loader = session.jobs[0].config, session.loader
        self.models = live_models(session.teacher)
        looking = [job.config.method for job in session.jobs if job.method.needs]
        of_study = known.shared is not None and known.shared.features
        self.options = EngineOptions(
            self.config,
            session.fabric.device,
            features=bool(looking) or of_study,
            together=of_study or session.fabric.world_size > 1,
            changing_rows=session.mix.mixed_epochs(self.config.epochs) is not None and session.mix.beside,
            method=looking[0] if looking else self.config.method,
        )
        self.temperature = float(getattr(session.jobs[0].method, "temperature", 1.0))
        self.long = work_of_session(session) >= _TRIAL_FROM.get(session.fabric.device.type, float("inf"))
        self.trial: Trial | None = None

    def completed(self, begun: Choice) -> Choice:
        """What was chosen before, and the rest as options say or by trial."""
        options, choice = self.options, begun
        precision = begun.precision or options.plain_precision
        students = teachers = False
        if begun.precision is None:
            choice = replace(choice, precision=precision, student=options.execution("student"))
            students = len(options.student_precisions()) > 1 or options.may_compile_students
            students = students and bool(self.session.students)
        if begun.teachers is None:
            choice = replace(choice, teachers=self._plain_teachers(precision))
            free = any(own_engine(model) is None for model in self.models)
            teachers = free and len(options.teacher_engines(precision)) > 1
        if not (students or teachers):
            return choice
        if not self.long or self.session.fabric.world_size > 1:
            return replace(choice, by="plain")
        self.trial = Trial(self.session, options, self.temperature, self.timer, self.known.random_weights)
        return self.trial.run(choice, students=students, teachers=teachers)

    def of_earlier_version(self) -> Choice:
        """What an earlier version ran a short run with."""
        options = self.options
        precision = options.plain_precision
        if self.config.precision == "auto" and fast_bfloat16(self.session.fabric.device):
            precision = "bf16"
        if "auto" in (self.config.precision, self.config.compile):
            _log.warning(
                "%s was begun by an earlier version, which did not record what ran it: it goes on in %s by torch, and "
                "if it was begun with something else it is not bit for bit the same run",
                *(self.config.out, named(precision)),
            )
        teachers = self._plain_teachers(precision)
        return Choice(precision, options.execution("student"), teachers, by="earlier version")

    def _plain_teachers(self, precision: StudentPrecision) -> tuple[TeacherEngine, ...]:
        """What runs each model of the teacher if nothing is timed."""
        asked = getattr(self.config, "teacher_precision", "auto"), getattr(self.config, "teacher_engine", "auto")
        for model in self.models:
            if own_engine(model) is not None and asked != ("auto", "auto"):
                option = "--teacher-engine" if asked[0] == "auto" else "--teacher-precision"
                raise StkdError(f"{model.name} runs as its file is, in onnxruntime; leave out {option}")
        return tuple(
            own_engine(model) or self.options.plain_teacher(precision, long=self.long) for model in self.models
        )

    def changed(self, choice: Choice) -> Choice:
        """The choice of a run that goes on, where options of now ask for something else."""
        options, other = self.options, choice
        teachers = list(choice.teachers or ())
        library: Any = getattr(self.config, "teacher_engine", "auto")
        if "teacher_engine" in self.known.changed and library != "auto":
            lower: dict[str, Any] = {"int8": choice.precision}  # torch has no int8
            teachers = [
                engine
                if engine.library in (library, "onnxruntime")
                else TeacherEngine(library, lower.get(engine.precision, engine.precision))
                for engine in teachers
            ]
        if "compile" in self.known.changed and self.config.compile != "auto":
            other = replace(other, student=options.execution("student"))
            teachers = [
                replace(engine, execution=options.execution("teacher")) if engine.library == "torch" else engine
                for engine in teachers
            ]
        other = replace(other, teachers=None if choice.teachers is None else tuple(teachers))
        if other.same_engines(choice):
            return choice
        _log.warning(
            "%s was begun with %s and goes on with %s: from here on it is not bit for bit the run that was begun",
            *(self.config.out, choice, other),
        )
        return replace(other, by="options", facts={})

    def use(self, choice: Choice, *, kept: bool) -> Choice:
        """Have the engines run teacher and students.

        Args:
            choice: What is to run them.
            kept: Whether the run was begun with them; what fails of others is replaced by torch, eager.

        Returns:
            What does run them.

        Raises:
            StkdError: One is not possible here.
        """
        assert choice.precision is not None
        if self.models and len(choice.teachers or ()) != len(self.models):
            raise StkdError(f"{self.config.out} was begun with other teachers; give another --out")
        set_precision(self.session, choice.precision)
        engines = [
            self._run_teacher(place, model, engine, kept=kept)
            for place, (model, engine) in enumerate(zip(self.models, choice.teachers or (), strict=False))
        ]
        if choice.student == "compiled" and not compile_students(self.session) and kept:
            raise self._fails_here("its student compiled", "--compile none")
        if all(student.fast is student.module for student in self.session.students):
            choice = replace(choice, student="eager")  # it fails, or methods look at the features of all
        return replace(choice, teachers=tuple(engines))

    def _run_teacher(self, place: int, model: LiveTeacher, engine: TeacherEngine, *, kept: bool) -> TeacherEngine:
        checks: dict[str, Any] = {}
        tried = None if self.trial is None else self.trial.ready.get(place)
        if tried is not None:
            model.runner = tried.runner
            checks = {str(own.precision): near.record() for own, near in tried.checks.items()}
        else:
            engine, model.runner = self._runner(model, engine, kept=kept)
            if engine.precision == "int8":
                near = nearness(model, model.runner, self.loader, self.config.epochs, self.temperature)
                checks = {"int8": near.record()}
                _log.info("teacher in int8: %s", near)
        model.record = [{**engine.record(), **checks}]
        return engine

    def _runner(self, model: LiveTeacher, engine: TeacherEngine, *, kept: bool) -> tuple[TeacherEngine, Runner]:
        """The engine, or where one that nobody asked for fails torch, ready."""
        if kept and not engine.installed:
            raise self._fails_here(
                f"its teacher in {engine}", "--teacher-engine torch", " (pip install 'stkd[openvino]')"
            )
        made = self.loader, self.config.epochs, self.session.fabric
        try:
            return engine, make_runner(model, engine, *made)
        except StkdError as error:
            if kept and engine.execution == "compiled":
                raise self._fails_here("its teacher compiled", "--compile none") from None
            asked = getattr(self.config, "teacher_engine", "auto") == "openvino" or engine.precision == "int8"
            if kept or asked:
                raise
            if engine.execution == "eager":  # the compiler has said so itself
                _log.warning("%s", error)
            engine = TeacherEngine("torch", engine.precision)
            return engine, make_runner(model, engine, *made)

    def _fails_here(self, what: str, option: str, cure: str = "") -> StkdError:
        return StkdError(
            f"{self.config.out} was begun with {what}, which is not possible here{cure}; go on with {option}, not bit "
            "for bit the same run"
        )
