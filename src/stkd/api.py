"""Training and distilling from Python; the command line calls the same functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from .core.config import CacheConfig, DataOptions, DistillConfig, RunConfig, TrainConfig, build
from .core.devices import make_fabric
from .core.errors import StkdError
from .core.options import checked
from .data import DataSet
from .methods import Method
from .methods.selection import method_of, mix_of
from .runs.directory import RunDir, read_result
from .runs.model_card import write_card
from .teachers.selection import with_cached_epochs
from .training.cache import Cached, run_cache
from .training.learner import Learner
from .training.loop import train as train_learners
from .training.session import Subject, prepare, ready

__all__ = ["OnEpoch", "Result", "cache_teacher", "distill", "run_distill", "run_train", "train"]


OnEpoch = Callable[[Sequence[Mapping[str, Any]]], object]
"""Is told the metrics so far, one row an epoch as in metrics.jsonl."""


@dataclass(frozen=True)
class Result:
    """What came of a run.

    Attributes:
        out: The run directory.
        weights: The final weights.
        scores: What result.json holds: scores of the last epoch, time and amount of work.
        fresh: False if the run had been finished before and nothing was done.
        model: The trained model, on the CPU; None if nothing was done.
    """

    out: Path
    weights: Path
    scores: dict[str, Any]
    fresh: bool
    model: nn.Module | None = None


def train(
    model: str | nn.Module, data: str | DataSet, *, out: str | Path, method: str = "ce", **options: Any
) -> Result:
    """Train one model alone.

    Args:
        model: Model name or any module from images to logits.
        data: "KIND:PATH" or a data set.
        out: Run directory; the same call again resumes.
        method: "ce", "mixup" or "dml" (which trains a peer beside it).
        options: Fields of `TrainConfig`.

    Raises:
        StkdError: An option, a file or a name is wrong.
    """
    named = {"model": name_of(model), "data": name_of(data), "method": method, "out": out}
    config = build(TrainConfig, checked(TrainConfig, {**options, **named}))
    return run_train(config, data=given(data, config), model=module_of(model))


def distill(
    teacher: str | nn.Module | None,
    student: str | nn.Module,
    data: str | DataSet,
    method: str = "stkd",
    *,
    out: str | Path,
    **options: Any,
) -> Result:
    """Distil a teacher into a student.

    Args:
        teacher: Model name (with `teacher_weights`), a run directory, or any trained module from images to logits; a
            module is frozen and put in evaluation mode. None with `teacher_cache`.
        student: Model name or any module.
        data: "KIND:PATH" or a data set.
        method: Method name, with options if wanted ("stkd:temperature=2").
        out: Run directory; the same call again resumes.
        options: Fields of `DistillConfig`.

    Raises:
        StkdError: An option, a file or a name is wrong.
    """
    options = {**options_of_teacher(teacher), **options}
    named = {"student": name_of(student), "data": name_of(data), "method": method, "out": out}
    config = build(DistillConfig, checked(DistillConfig, {**options, **named}))
    return run_distill(config, data=given(data, config), student=module_of(student), teacher=module_of(teacher))


def cache_teacher(
    teacher: str | nn.Module, data: str | DataSet, method: str = "stkd", *, out: str | Path, **options: Any
) -> Cached:
    """Write a teacher's logits for the virtual samples of a run; `distill(None, ..., teacher_cache=out)` reads them.

    Args:
        teacher: As in `distill`.
        data: "KIND:PATH" or a data set.
        method: Method of the students; it chooses the virtual samples.
        out: The cache; the same call again resumes, with more epochs lengthens it.
        options: Fields of `CacheConfig`.

    Raises:
        StkdError: An option, a file or a name is wrong.
    """
    named = {"data": name_of(data), "method": method, "out": out}
    config = build(CacheConfig, checked(CacheConfig, {**options_of_teacher(teacher), **options, **named}))
    return run_cache(config, data=given(data, config), teacher=module_of(teacher))


def run_train(
    config: TrainConfig, *, data: DataSet | None = None, model: nn.Module | None = None, progress: bool = True
) -> Result:
    """Train as a config says; `data` and `model` stand in for what the config names."""
    method = method_of(config)
    if method.uses_teacher:
        raise StkdError(f"method {config.method!r} needs a teacher; use 'stkd distill', or train with ce or mixup")
    subject = Subject(config.model, "model.safetensors", model, config.weights, config.pretrained, config.model_options)
    return _run(config, method, subject, data, None, progress)


def run_distill(
    config: DistillConfig,
    *,
    data: DataSet | None = None,
    student: nn.Module | None = None,
    teacher: nn.Module | None = None,
    progress: bool = True,
    on_epoch: OnEpoch | None = None,
) -> Result:
    """Distil as a config says; `data`, `student` and `teacher` stand in for what the config names.

    Several generations (born-again networks, Furlanello et al., ICML 2018) are runs beside each other, OUT-generation1
    and so on, each from other initial weights and taught by the one before; OUT is the last.

    Args:
        config: The options.
        data, student, teacher: See above.
        progress: Show a progress bar.
        on_epoch: Called after each epoch (of the last generation); what it raises ends the run, which can be resumed.
    """
    method = method_of(config)
    if config.generations > 1 and (student is not None or not method.uses_teacher):
        raise StkdError("generations need a student by name and a method with a teacher")
    for generation in range(1, config.generations):
        out = config.out.with_name(f"{config.out.name}-generation{generation}")
        own = dataclasses.replace(config, out=out, generations=1)
        run_distill(own, data=data, teacher=teacher, progress=progress)
        config = dataclasses.replace(
            config,
            seed=config.seed + 1,
            teacher=None,
            teacher_options=None,
            teacher_weights=out,
            more_teachers=None,
            teacher_shares=None,
            teacher_pretrained=False,
            teacher_classes=None,
            teacher_mean=None,
            teacher_std=None,
            teacher_size=None,
            teacher_cache=None,
        )
        teacher = None
    if method.uses_teacher:
        config = with_cached_epochs(config)
    return _run(config, method, student_of(config, student), data, teacher, progress, on_epoch)


def student_of(config: DistillConfig, module: nn.Module | None) -> Subject:
    """The student that a config names, or a module in its place."""
    start, pretrained = config.student_weights, config.student_pretrained
    return Subject(config.student, "student.safetensors", module, start, pretrained, config.student_options)


def _run(
    config: TrainConfig | DistillConfig,
    method: Method,
    subject: Subject,
    data: DataSet | None,
    teacher: nn.Module | None,
    progress: bool,
    on_epoch: OnEpoch | None = None,
) -> Result:
    mix = mix_of(config, method)
    run = RunDir(config)
    try:
        done = read_result(run.path)
        if done is not None:
            return Result(run.path, run.path / subject.weights_name, done, fresh=False)
        fabric = make_fabric(config)
        shared = prepare(config, [method], mix, fabric, data=data, teacher=teacher)
        learner = ready(config, method, subject, shared, run, fabric)
        told = None if on_epoch is None else lambda learner: on_epoch(learner.state.rows)
        train_learners([learner], shared.loader, progress=progress, on_epoch=told)
        if learner.lost is not None:
            raise learner.lost
        return conclude(learner)
    finally:
        run.close()


def conclude(learner: Learner) -> Result:
    """Write what a student ends with."""
    scores, job = learner.finish(), learner.job
    if learner.fabric.is_global_zero:
        write_card(job.config, scores, job.info, job.weights_name, job.teacher.name if job.teacher is not None else "")
    out = learner.dir.path
    return Result(out, out / job.weights_name, scores, fresh=True, model=job.student.cpu().eval())


def options_of_teacher(teacher: str | nn.Module | None) -> dict[str, Any]:
    """The options that name a teacher given as a model name, a run directory or a module."""
    if isinstance(teacher, str) and Path(teacher).is_dir():
        return {"teacher_weights": teacher}
    return {} if teacher is None else {"teacher": name_of(teacher)}


def name_of(what: str | nn.Module | DataSet) -> str:
    """What a config calls a model or a data set."""
    if isinstance(what, nn.Module):
        return type(what).__name__
    return what if isinstance(what, str) else what.name


def module_of(model: str | nn.Module | None) -> nn.Module | None:
    """The module that was given, None for a name."""
    return None if isinstance(model, str) else model


def given(data: str | DataSet, config: RunConfig) -> DataSet | None:
    """The data set that was given, None for a name.

    Raises:
        StkdError: An option was given that only opening a data set could follow.
    """
    if isinstance(data, str):
        return None
    for field in dataclasses.fields(DataOptions):
        if field.name in _OF_OPENING and getattr(config, field.name) != field.default:
            raise StkdError(f"{field.name} comes too late for a data set that is open; give it to stkd.open_data")
    return data


_OF_OPENING = {"labels", "image_size", "val_fraction", "train_images", "split_seed"}
