"""The trial of what could run teacher and students, on a batch of the run itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..core.errors import StkdError
from ..teachers.engines import Runner, TeacherEngine, batches_after, close_all, make_runner, own_engine
from ..teachers.openvino import named
from .choice import Choice, StudentPrecision
from .engine_options import EngineOptions
from .rehearsal import rehearse, rehearsing
from .stopwatch import Timer
from .student_engines import compile_students, set_precision
from .teacher_trial import FASTER, TeacherTrial, Tried
from .work import live_models

if TYPE_CHECKING:
    from .session import Session

__all__ = ["Trial"]

_log = logging.getLogger(__name__)

_LONG = 180.0
"""Seconds that a run would take by the plain engines from which on others are timed."""

_COMPILED_PAYS = {"cpu": (1.1, 60.0), "cuda": (1.3, 60.0)}
"""Usual speed of a compiled student beside an eager one, and seconds to compile it (CPU in float32: 0.9 to 1.7 in
results/speed_amx.json; CUDA: a guess). They decide what is worth a trial. In bf16 on a CPU it is not tried."""


class Trial:
    """A trial for one session.

    Args:
        session: With all that trains.
        options: What may be tried.
        temperature: Of the check of teachers in lower precisions.
        timer: Says how long something takes.
        random_weights: The teacher's weights tell nothing about its answers: int8 is left out, bf16 not checked.

    Attributes:
        ready: Runners of the teachers' models that won, by place.
    """

    def __init__(
        self, session: Session, options: EngineOptions, temperature: float, timer: Timer, random_weights: bool
    ) -> None:
        self.session, self.options, self.temperature = session, options, temperature
        self.timer, self.random_weights = timer, random_weights
        self.config, self.loader, self.device = session.jobs[0].config, session.loader, session.fabric.device
        self.steps = self.config.epochs * self.loader.steps
        self.models = live_models(session.teacher)
        self.images = next(batches_after(self.loader, self.config.epochs))
        self.ready: dict[int, Tried] = {}

    def run(self, choice: Choice, *, students: bool, teachers: bool) -> Choice:
        """What wins; the plain choice where the run is short after all.

        Args:
            choice: What runs everything if nothing is faster.
            students, teachers: Which are tried.
        """
        with rehearsing(self.session.students):
            return self._run(choice, students, teachers)

    def _run(self, choice: Choice, students: bool, teachers: bool) -> Choice:
        if len(self.images) < 2:  # too few for the statistics of a batch
            return replace(choice, by="plain")
        began = time.monotonic()
        assert choice.precision is not None
        precision = self.options.student_precisions()[0] if students else choice.precision
        plain = self.options.teacher_engines(precision)[0] if teachers else None
        try:
            seconds = self._plain_seconds(precision, plain)
        except StkdError:  # said where it is made for the run
            return replace(choice, by="plain")
        facts: dict[str, Any] = {"plain_run_s": round(sum(seconds.values()) * self.steps, 1)}
        if sum(seconds.values()) * self.steps < _LONG:
            return replace(choice, by="plain", facts=facts)
        facts |= {"batch_s": {}}
        if students:
            choice = self._students(choice, seconds["students"], facts)
        if plain is not None:
            choice = self._teachers(choice, plain, facts)
        choice = replace(choice, by="trial", facts=facts)
        _log.info("engines by trial (%.0f s): %s", time.monotonic() - began, _in_words(choice))
        return choice

    def _plain_seconds(self, precision: StudentPrecision, plain: TeacherEngine | None) -> dict[str, float]:
        """Seconds of a batch, by the plain engines, of what is there."""
        calls: dict[str, Callable[[], object]] = {}
        runners: list[Runner] = []
        if self.session.students:
            calls["students"] = self._rehearsal(precision)
        if plain is not None:
            epochs, fabric = self.config.epochs, self.session.fabric
            runners = [
                make_runner(model, own_engine(model) or plain, self.loader, epochs, fabric) for model in self.models
            ]
            calls["teachers"] = lambda: [
                run(model.preprocess(self.images)) for run, model in zip(runners, self.models, strict=True)
            ]
        seconds = self.timer(calls, self.device)
        close_all(runners)
        return seconds

    def _students(self, choice: Choice, plain: float, facts: dict[str, Any]) -> Choice:
        """The precision that is faster by 10 % than float32, and compiled where that is faster still."""
        precisions = self.options.student_precisions()
        seconds = {precisions[0]: plain}
        if len(precisions) > 1:
            timed = self.timer({named(p): self._rehearsal(p) for p in precisions}, self.device)
            seconds = {p: timed[named(p)] for p in precisions}
        best = min(precisions, key=lambda p: seconds[p])
        if seconds[best] * FASTER > seconds[precisions[0]]:
            best = precisions[0]
        found = facts["batch_s"]["student"] = {named(p): round(s, 5) for p, s in seconds.items()}
        choice = replace(choice, precision=best)
        set_precision(self.session, best)
        if self._compiling_may_pay(best, seconds[best]):
            if compile_students(self.session):
                eager, fast = self._compiled_seconds(best)
                found |= {named(best): round(eager, 5), f"{named(best)}, compiled": round(fast, 5)}
                cost = _COMPILED_PAYS[self.device.type][1] * len(self.session.students)
                if fast * FASTER <= eager and (eager - fast) * self.steps > cost:
                    return replace(choice, student="compiled")
            for student in self.session.students:
                student.fast = student.module
        return choice

    def _compiling_may_pay(self, precision: StudentPrecision, seconds: float) -> bool:
        """Whether at its usual speed a compiled student saves more than compiling takes."""
        if not self.options.may_compile_students or all(s.features is not None for s in self.session.students):
            return False
        if self.device.type not in _COMPILED_PAYS or (self.device.type == "cpu" and precision != "32"):
            return False
        usual, cost = _COMPILED_PAYS[self.device.type]
        return seconds * (1 - 1 / usual) * self.steps > cost * len(self.session.students)

    def _compiled_seconds(self, precision: StudentPrecision) -> tuple[float, float]:
        """Seconds of a batch, eager and compiled."""
        eager, fast = self._rehearsal(precision, eager=True), self._rehearsal(precision)
        found = self.timer({"eager": eager, "compiled": fast}, self.device)
        return found["eager"], found["compiled"]

    def _teachers(self, choice: Choice, plain: TeacherEngine, facts: dict[str, Any]) -> Choice:
        """The engine of each model of the teacher."""
        precision = choice.precision
        assert precision is not None
        others = [engine for engine in self.options.teacher_engines(precision) if engine != plain]
        if self.random_weights:
            others = [engine for engine in others if engine.precision != "int8"]
        between = self._rehearsal(precision) if self.session.students else None
        facts["batch_s"]["teachers"] = []
        for place, model in enumerate(self.models):
            if own_engine(model) is not None:
                facts["batch_s"]["teachers"].append({})
                continue
            trial = TeacherTrial(
                teacher=model,
                loader=self.loader,
                fabric=self.session.fabric,
                epochs=self.config.epochs,
                images=self.images,
                steps=self.steps,
                temperature=self.temperature,
                between=between,
                timer=self.timer,
                random_weights=self.random_weights,
            )
            self.ready[place] = won = trial.run(plain, others)
            facts["batch_s"]["teachers"].append({str(engine): round(s, 5) for engine, s in won.seconds.items()})
        engines = enumerate(choice.teachers or ())
        tried = {place: own.engine for place, own in self.ready.items()}
        return replace(choice, teachers=tuple(tried.get(place, engine) for place, engine in engines))

    def _rehearsal(self, precision: str, *, eager: bool = False) -> Callable[[], None]:
        """What steps of all students do."""

        def steps() -> None:
            for student in self.session.students:
                rehearse(student, student.module if eager else student.fast, self.images, precision)

        return steps


def _in_words(choice: Choice) -> str:
    """What won, and what a batch took by each."""
    seconds = choice.facts["batch_s"]
    parts = [
        f"teacher in {engine} ({_times(times)})"
        for engine, times in zip(choice.teachers or (), seconds.get("teachers", ()), strict=False)
    ]
    if "student" in seconds:
        compiled = ", compiled" if choice.student == "compiled" else ""
        parts.append(f"student in {named(choice.precision or '32')}{compiled} ({_times(seconds['student'])})")
    return "; ".join(parts)


def _times(seconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {1000 * own:.3g} ms" for name, own in seconds.items())
