"""The way of a training, from options to a finished run directory; one student or several of one teacher pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from torch import nn

from ..core.errors import StkdError
from ..core.fabric import meet_others
from ..core.watch import watched
from ..data import DataSet
from ..runs.directory import RunDirectory
from ..runs.result import Result
from ..teachers.probed import keep_heads
from .choice import Choice, SharedChoice
from .engines import Known
from .learner import Diverged, Learner
from .loop import train
from .session import Job, Session, common_mix, open_session
from .session_check import check_session

__all__ = ["OnEpoch", "run_jobs"]

OnEpoch = Callable[[Sequence[Mapping[str, Any]]], object]
"""Is told the metrics so far, one row an epoch as in metrics.jsonl."""


def run_jobs(
    jobs: Sequence[Job],
    *,
    data: DataSet | None = None,
    teacher: nn.Module | None = None,
    progress: bool = True,
    on_epoch: OnEpoch | None = None,
    shared: SharedChoice | None = None,
) -> list[Result | Diverged]:
    """Train what jobs ask for, or go on where that was stopped; what is finished is taken as it is.

    Args:
        jobs: One or more; several learn from the same answers of the teacher.
        data, teacher: Stand in for what the configs name.
        progress: Show a progress bar.
        on_epoch: Called after each epoch of each student; what it raises ends the training, which can be resumed.
        shared: The choice of engines of the study that the runs belong to.

    Returns:
        For each job its result, or why it was given up; one that diverges leaves the others alone.

    Raises:
        StkdError: An option, a name or a file is wrong, or the jobs would not see the same samples.
    """
    common_mix(jobs)  # before a directory is made
    world = meet_others(jobs[0].config)
    progress = progress and world.rank == 0
    with watched(world) as watch, ExitStack() as stack:
        with world.first_before_others():  # it makes the directories
            runs = [stack.enter_context(RunDirectory(job.config)) for job in jobs]
        jobs = [replace(job, config=run.config) for job, run in zip(jobs, runs, strict=True)]
        results: list[Result | Diverged | None] = [
            None if run.result is None else Result(run.path, run.weights, run.result, fresh=False) for run in runs
        ]
        todo = [i for i, result in enumerate(results) if result is None]
        if todo:
            session = stack.enter_context(open_session([jobs[i] for i in todo], data=data, teacher=teacher))
            check_session(session, [runs[i].path for i in todo], notes=progress)
            if session.fabric.is_global_zero:
                for i in todo:
                    keep_heads(session.teacher, runs[i].path)
            choice = session.choose_engines(_known([runs[i] for i in todo], shared))
            learners = _learners(session, [runs[i] for i in todo], choice)
            told = None if on_epoch is None else lambda learner: on_epoch(learner.state.rows)
            train(learners, session.loader, progress=progress, on_epoch=told, watch=watch)
            for i, learner in zip(todo, learners, strict=True):
                results[i] = learner.lost or _result(learner)
    return [result for result in results if result is not None]


def _known(runs: Sequence[RunDirectory], shared: SharedChoice | None) -> Known:
    """What is known of engines before they are chosen.

    Raises:
        StkdError: Runs that are to go on beside each other were begun with different ones.
    """
    begun = [(run, Choice.of(run.engines[-1])) for run in runs if run.engines]
    if not begun:
        earlier = next((run for run in runs if run.last.exists()), None)
        return Known(shared=shared, earlier_version=earlier is not None)
    first, kept = begun[0]
    for run, other in begun[1:]:
        if not other.same_engines(kept):
            raise StkdError(f"{first.path.name} was begun with {kept}, {run.path.name} with {other}; run them apart")
    now, before = first.config, first.begun
    changed = [name for name in ("compile", "teacher_engine") if getattr(now, name, None) != before.get(name, "auto")]
    return Known(kept, changed, shared)


def _learners(session: Session, runs: Sequence[RunDirectory], choice: Choice) -> list[Learner]:
    learners = []
    for student, run in zip(session.students, runs, strict=True):
        beside = [other.path.name for other in runs if other is not run]
        learner = Learner(student, session, run)
        changes = learner.restore() | learner.note_engines(choice)
        facts = {"data": session.data.fingerprint, "device": str(session.fabric.device), "beside": beside}
        run.record_environment({**facts, "engines": choice.record(), **changes})
        if beside:
            learner.separate()
        learners.append(learner)
    return learners


def _result(learner: Learner) -> Result:
    with learner.stream:
        scores = learner.finish()
    model = learner.student.module.cpu().eval()
    return Result(learner.run.path, learner.run.weights, scores, fresh=True, model=model)
