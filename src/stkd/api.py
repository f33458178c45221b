"""Training, distilling and loading from Python; the command line calls the same functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from .core.config import CacheConfig, CheckConfig, DataOptions, DistillConfig, RunConfig, TrainConfig, build
from .core.errors import StkdError
from .core.options import checked
from .data import DataSet
from .data.selection import data_of
from .methods.selection import method_of, mix_of
from .models.files import ModelInfo
from .preflight import Report
from .preflight import check as preflight_check
from .runs.finished_run import open_run
from .runs.options import with_cached_epochs
from .runs.result import Result
from .training.cache_writer import Cached, run_cache
from .training.group_options import configs_of
from .training.learner import Diverged
from .training.session import Job, open_session
from .training.session_check import save_report
from .training.trainer import OnEpoch, run_jobs

__all__ = [
    "OnEpoch",
    "Result",
    "cache_teacher",
    "check",
    "distill",
    "distill_many",
    "load",
    "run_check",
    "run_distill",
    "run_many",
    "run_train",
    "train",
]


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
    named = {"model": _name(model), "data": _name(data), "method": method, "out": out}
    config = build(TrainConfig, checked(TrainConfig, {**options, **named}))
    return run_train(config, data=_opened(data, config), model=_module(model))


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
        teacher: Model name (with `teacher_weights`), a run directory, or any trained module from images to logits, that
            is given back as it was. None with `teacher_cache`.
        student: Model name or any module, which is trained in place.
        data: "KIND:PATH" or a data set.
        method: Method name, with options if wanted ("stkd:temperature=2").
        out: Run directory; the same call again resumes.
        options: Fields of `DistillConfig`.

    Raises:
        StkdError: An option, a file or a name is wrong.
    """
    options = {**_options_of_teacher(teacher), **options}
    named = {"student": _name(student), "data": _name(data), "method": method, "out": out}
    config = build(DistillConfig, checked(DistillConfig, {**options, **named}))
    return run_distill(config, data=_opened(data, config), student=_module(student), teacher=_module(teacher))


def distill_many(
    teacher: str | nn.Module | None,
    students: Mapping[str, Mapping[str, Any]],
    data: str | DataSet,
    method: str = "stkd",
    *,
    out: str | Path,
    **options: Any,
) -> dict[str, Result | Diverged]:
    """Distil a teacher into several students beside each other; it answers once for all.

    Args:
        teacher: As in `stkd.distill`.
        students: For each the name of its run directory below `out`, and its own options: `student` (a model name or
            any module), `method`, `seed` and those of the optimiser but `epochs` and `batch_size`.
        data: "KIND:PATH" or a data set.
        method: Of the students that name none.
        out: Folder of the run directories; the same call again resumes.
        options: Fields of `DistillConfig` that all have.

    Returns:
        For each student its result, or why it was given up: one that diverges leaves the others alone.

    Raises:
        StkdError: An option, a file or a name is wrong, or the students would not see the same samples.

    Example:
        >>> stkd.distill_many("runs/teacher", {"a": {"student": "resnet8"}, "b": {"student": "resnet8", "seed": 1}},
        ...                   "cifar100:PATH", out="runs/group", epochs=240)
    """
    modules = {name: own["student"] for name, own in students.items() if isinstance(own.get("student"), nn.Module)}
    named = {
        name: {**own, "student": _name(own["student"])} if "student" in own else own for name, own in students.items()
    }
    common = {**_options_of_teacher(teacher), **options, "data": _name(data), "method": method, "out": out}
    configs = configs_of(common, named)
    opened = _opened(data, next(iter(configs.values())))
    return run_many(configs, data=opened, students=modules, teacher=_module(teacher))


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
    named = {"data": _name(data), "method": method, "out": out}
    config = build(CacheConfig, checked(CacheConfig, {**_options_of_teacher(teacher), **options, **named}))
    return run_cache(config, data=_opened(data, config), teacher=_module(teacher))


def check(data: str | DataSet, teacher: str | nn.Module | None = None, **options: Any) -> Report:
    """Check images, teacher and budget, as every training does first.

    Args:
        data: "KIND:PATH" or a data set.
        teacher: As in `distill`; None checks the images alone.
        options: Fields of `CheckConfig`.

    Returns:
        All findings; `report.of("error")` are those that would stop a training.

    Raises:
        StkdError: An option, a file or a name is wrong.
    """
    named = {"data": _name(data)}
    config = build(CheckConfig, checked(CheckConfig, {**_options_of_teacher(teacher), **options, **named}))
    return run_check(config, data=_opened(data, config), teacher=_module(teacher))


def load(path: str | Path, model: nn.Module | None = None) -> tuple[nn.Module, ModelInfo]:
    """The model of a finished run, on the CPU in evaluation mode, and what has to be known to use it.

    Args:
        path: Run directory, or a .safetensors file written by stkd.
        model: A module that takes the weights, for a run that was made with a module of yours. A run never causes code
            that it names to be executed.

    Returns:
        The model, from images (B, C, H, W) scaled to 0..1 and normalised with `info.mean` and `info.std`, to logits;
        and the info: class names, channels, size in pixels, mean, std.

    Raises:
        StkdError: The file is missing or damaged, its model has no name here, or the weights do not fit `model`.

    Example:
        >>> model, info = stkd.load("runs/small")
    """
    opened = open_run(Path(path), model=model, with_teacher=False)
    return opened.model, opened.info


def run_train(
    config: TrainConfig, *, data: DataSet | None = None, model: nn.Module | None = None, progress: bool = True
) -> Result:
    """Train as a config says; `data` and `model` stand in for what the config names."""
    job = Job.of(config, model)
    if job.method.uses_teacher:
        raise StkdError(f"method {config.method!r} needs a teacher; use 'stkd distill', or train with ce or mixup")
    return _only(run_jobs([job], data=data, progress=progress))


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
    job = Job.of(config, student)
    if config.generations > 1 and (student is not None or not job.method.uses_teacher):
        raise StkdError("generations need a student by name and a method with a teacher")
    for generation in range(1, config.generations):
        out = config.out.with_name(f"{config.out.name}-generation{generation}")
        own = dataclasses.replace(config, out=out, generations=1)
        run_distill(own, data=data, teacher=teacher, progress=progress)
        config, teacher = _taught_by(config, out), None
    if job.method.uses_teacher:
        config = with_cached_epochs(config)
    job = dataclasses.replace(job, config=config)
    return _only(run_jobs([job], data=data, teacher=teacher, progress=progress, on_epoch=on_epoch))


def run_many(
    configs: Mapping[str, DistillConfig],
    *,
    data: DataSet | None = None,
    students: Mapping[str, nn.Module] | None = None,
    teacher: nn.Module | None = None,
    progress: bool = True,
) -> dict[str, Result | Diverged]:
    """Distil as the configs of several students say; `data`, `students` and `teacher` stand in for what they name.

    Returns:
        For each student its result, or why it was given up; it leaves the others alone.

    Raises:
        StkdError: An option or a file is wrong, or the students would not see the same samples.
    """
    if any(config.devices > 1 or config.generations > 1 for config in configs.values()):
        raise StkdError("several students learn on one device and in one generation; leave out the option")
    jobs = [Job.of(config, (students or {}).get(name)) for name, config in configs.items()]
    if any(job.method.uses_teacher for job in jobs):
        cycles = [with_cached_epochs(config) for config in configs.values()]
        jobs = [dataclasses.replace(job, config=config) for job, config in zip(jobs, cycles, strict=True)]
    return dict(zip(configs, run_jobs(jobs, data=data, teacher=teacher, progress=progress), strict=True))


def run_check(config: CheckConfig, *, data: DataSet | None = None, teacher: nn.Module | None = None) -> Report:
    """Check what a config names; `data` and `teacher` stand in for it."""
    if teacher is None and not (config.teacher or config.teacher_weights or config.teacher_cache):
        mixed = mix_of(config, method_of(config)).active
        config = dataclasses.replace(config, method="mixup" if mixed else "ce")
    data = data or data_of(dataclasses.replace(config, skip_bad=True))  # broken files are a finding
    with open_session([Job.of(config)], data=data, teacher=teacher, students=bool(config.student)) as session:
        report = preflight_check(session.subject)
    if config.save is not None:
        save_report(report, config.save)
    return report


def _only(results: list[Result | Diverged]) -> Result:
    (result,) = results
    if isinstance(result, Diverged):
        raise result
    return result


def _taught_by(config: DistillConfig, run: Path) -> DistillConfig:
    """The config of the next generation, whose teacher is the student of a run."""
    own: dict[str, Any] = {
        field.name: field.default
        for field in dataclasses.fields(config)
        if field.name.startswith("teacher") or field.name == "more_teachers"
    }
    own |= {"teacher_precision": config.teacher_precision, "seed": config.seed + 1, "teacher_weights": run}
    return dataclasses.replace(config, **own)


def _options_of_teacher(teacher: str | nn.Module | None) -> dict[str, Any]:
    """The options that name a teacher given as a model name, a run directory or a module."""
    if isinstance(teacher, str) and Path(teacher).is_dir():
        return {"teacher_weights": teacher}
    return {} if teacher is None else {"teacher": _name(teacher)}


def _name(what: str | nn.Module | DataSet) -> str:
    """What a config calls a model or a data set."""
    if isinstance(what, nn.Module):
        return type(what).__name__
    return what if isinstance(what, str) else what.name


def _module(model: str | nn.Module | None) -> nn.Module | None:
    """The module that was given, None for a name."""
    return None if isinstance(model, str) else model


def _opened(data: str | DataSet, config: RunConfig) -> DataSet | None:
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


_OF_OPENING = {
    *("labels", "image_size", "crop_pct", "interpolation", "nested", "skip_bad"),
    *("val_fraction", "train_images", "split_seed"),
}
