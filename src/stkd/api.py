"""Training, distilling and loading from Python; the command line calls the same functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from .core.config import (
    CacheConfig,
    CheckConfig,
    DataOptions,
    DistillConfig,
    ProbeConfig,
    RunConfig,
    TrainConfig,
    build,
    plain,
)
from .core.errors import StkdError
from .core.options import checked
from .core.processes import check_alone
from .data import DataSet
from .data.from_python import data_from, spec_of
from .data.selection import data_of
from .methods.selection import method_of, mix_of
from .models import models as zoo
from .models.files import ModelInfo
from .preflight import Report
from .preflight import check as preflight_check
from .runs.directory import has_begun
from .runs.finished_run import open_run
from .runs.options import check_unchanged, with_cached_epochs
from .runs.result import Result
from .training.cache_writer import Cached, run_cache
from .training.choice import SharedChoice
from .training.group_options import configs_of
from .training.learner import Diverged
from .training.probe_writer import Probed, run_probe
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
    "probe",
    "run_check",
    "run_distill",
    "run_many",
    "run_train",
    "train",
]


def train(model: str | nn.Module, data: Any, *, out: str | Path, method: str = "ce", **options: Any) -> Result:
    """Train one model alone.

    Args:
        model: Model name or any module from images to logits.
        data: "KIND:PATH", a data set, or what `stkd.data_from` makes one of, such as a torch `Dataset`.
        out: Run directory; the same call again resumes.
        method: "ce", "mixup" or "dml" (which trains a peer beside it).
        options: Fields of `TrainConfig`.

    Raises:
        StkdError: An option, a file or a name is wrong.
    """
    name, opened = _data(data, TrainConfig, options)
    named = {"model": _name(model, "model"), "data": name, "method": method, "out": out}
    config = build(TrainConfig, checked(TrainConfig, {**options, **named}))
    return run_train(config, data=opened, model=_module(model))


def distill(
    teacher: str | Path | nn.Module | None,
    student: str | nn.Module,
    data: Any,
    method: str = "stkd",
    *,
    out: str | Path,
    **options: Any,
) -> Result:
    """Distil a teacher into a student.

    Args:
        teacher: Model name (with `teacher_weights`), a run directory, a file of weights, an ONNX file, or any trained
            module from images to logits, that is given back as it was. None with `teacher_cache`.
        student: Model name or any module, which is trained in place.
        data: "KIND:PATH", a data set, or what `stkd.data_from` makes one of, such as a torch `Dataset`.
        method: Method name, with options if wanted ("stkd:temperature=2").
        out: Run directory; the same call again resumes.
        options: Fields of `DistillConfig`.

    Raises:
        StkdError: An option, a file or a name is wrong.
    """
    name, opened = _data(data, DistillConfig, options)
    named = {"student": _name(student, "student"), "data": name, "method": method, "out": out}
    config = build(DistillConfig, checked(DistillConfig, {**_options_of_teacher(teacher), **options, **named}))
    return run_distill(config, data=opened, student=_module(student), teacher=_module(teacher))


def distill_many(
    teacher: str | Path | nn.Module | None,
    students: Mapping[str, Mapping[str, Any]],
    data: Any,
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
        data: "KIND:PATH", a data set, or what `stkd.data_from` makes one of, such as a torch `Dataset`.
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
        name: {**own, "student": _name(own["student"], "student")} if "student" in own else own
        for name, own in students.items()
    }
    name, opened = _data(data, DistillConfig, options)
    common = {**_options_of_teacher(teacher), **options, "data": name, "method": method, "out": out}
    configs = configs_of(common, named)
    return run_many(configs, data=opened, students=modules, teacher=_module(teacher))


def cache_teacher(
    teacher: str | Path | nn.Module | None, data: Any, method: str = "stkd", *, out: str | Path, **options: Any
) -> Cached:
    """Write a teacher's logits for the virtual samples of a run; `distill(None, ..., teacher_cache=out)` reads them.

    Args:
        teacher: As in `distill`.
        data: "KIND:PATH", a data set, or what `stkd.data_from` makes one of, such as a torch `Dataset`.
        method: Method of the students; it chooses the virtual samples.
        out: The cache; the same call again resumes, with more epochs lengthens it.
        options: Fields of `CacheConfig`.

    Raises:
        StkdError: An option, a file or a name is wrong.
    """
    name, opened = _data(data, CacheConfig, options)
    named = {"data": name, "method": method, "out": out}
    config = build(CacheConfig, checked(CacheConfig, {**_options_of_teacher(teacher), **options, **named}))
    return run_cache(config, data=opened, teacher=_module(teacher))


def probe(teacher: str | Path | nn.Module | None, data: Any, *, out: str | Path, **options: Any) -> Probed:
    """Fit a new head on the features of a trained model, and write the model with that head to `out`.

    Args:
        teacher: As in `distill`; a module is not changed.
        data: "KIND:PATH", a data set, or what `stkd.data_from` makes one of, such as a torch `Dataset`.
        out: Folder for model.safetensors, which `stkd.load` and `teacher_weights` take, and probe.json.
        options: Fields of `ProbeConfig`.

    Raises:
        StkdError: An option, a file or a name is wrong, or the model has no linear classifier.
    """
    name, opened = _data(data, ProbeConfig, options)
    named = {**_options_of_teacher(teacher), **options, "data": name, "out": out}
    config = build(ProbeConfig, checked(ProbeConfig, named))
    return run_probe(config, data=opened, teacher=_module(teacher))


def check(data: Any, teacher: str | Path | nn.Module | None = None, *, full: bool = False, **options: Any) -> Report:
    """Check images, teacher and budget, as every training does first.

    Args:
        data: "KIND:PATH", a data set, or what `stkd.data_from` makes one of, such as a torch `Dataset`.
        teacher: As in `distill`; None checks the images alone.
        full: Look at all files, however long that takes.
        options: Fields of `CheckConfig`.

    Returns:
        All findings; `report.of("error")` are those that would stop a training.

    Raises:
        StkdError: An option, a file or a name is wrong.
    """
    name, opened = _data(data, CheckConfig, options)
    config = build(CheckConfig, checked(CheckConfig, {**_options_of_teacher(teacher), **options, "data": name}))
    return run_check(config, data=opened, teacher=_module(teacher), full=full)


def load(path: str | Path, model: nn.Module | None = None) -> tuple[nn.Module, ModelInfo]:
    """The model of a finished run, on the CPU in evaluation mode, and what has to be known to use it.

    Args:
        path: Run directory, a copy of one from a hub, the folder of a probe, a .safetensors file written by stkd, or a
            folder that timm or transformers saved a model to.
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
    shared: SharedChoice | None = None,
) -> Result:
    """Distil as a config says; `data`, `student` and `teacher` stand in for what the config names.

    Several generations (born-again networks, Furlanello et al., ICML 2018) are runs beside each other, OUT-generation1
    and so on, each from other initial weights and taught by the one before; OUT is the last.

    Args:
        config: The options.
        data, student, teacher: See above.
        progress: Show a progress bar.
        on_epoch: Called after each epoch (of the last generation); what it raises ends the run, which can be resumed.
        shared: The choice of engines of the study that the run belongs to.
    """
    job = Job.of(config, student)
    if config.generations > 1 and (student is not None or not job.method.uses_teacher):
        raise StkdError("generations need a student by name and a method with a teacher")
    *before, config = _generations(config)
    for own in before:
        run_distill(own, data=data, teacher=teacher, progress=progress, shared=shared)
        teacher = None
    if job.method.uses_teacher:
        config = with_cached_epochs(config)
    job = dataclasses.replace(job, config=config)
    return _only(run_jobs([job], data=data, teacher=teacher, progress=progress, on_epoch=on_epoch, shared=shared))


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
    if any(config.generations > 1 for config in configs.values()):
        raise StkdError("several students learn in one generation; leave out the option")
    for config in configs.values():
        check_alone(config.devices)
    jobs = [Job.of(config, (students or {}).get(name)) for name, config in configs.items()]
    if any(job.method.uses_teacher for job in jobs):
        cycles = [with_cached_epochs(config) for config in configs.values()]
        jobs = [dataclasses.replace(job, config=config) for job, config in zip(jobs, cycles, strict=True)]
    return dict(zip(configs, run_jobs(jobs, data=data, teacher=teacher, progress=progress), strict=True))


def run_check(
    config: CheckConfig, *, data: DataSet | None = None, teacher: nn.Module | None = None, full: bool = False
) -> Report:
    """Check what a config names; `data` and `teacher` stand in for it.

    Args:
        config: The options.
        data, teacher: See above.
        full: Look at all files, however long that takes.
    """
    check_alone(config.devices)
    if teacher is None and not (config.teacher or config.teacher_weights or config.teacher_cache):
        mixed = mix_of(config, method_of(config)).active
        config = dataclasses.replace(config, method="mixup" if mixed else "ce")
    data = data or data_of(dataclasses.replace(config, skip_bad=True))  # broken files are a finding
    with open_session([Job.of(config)], data=data, teacher=teacher, students=bool(config.student)) as session:
        report = preflight_check(dataclasses.replace(session.subject, full=full))
    if config.save is not None:
        save_report(report, config.save)
    return report


def _only(results: list[Result | Diverged]) -> Result:
    (result,) = results
    if isinstance(result, Diverged):
        raise result
    return result


def _generations(config: DistillConfig) -> list[DistillConfig]:
    """The config of each generation.

    Raises:
        StkdError: One that has begun would be taught by another teacher than before, such as by one trained for longer.
    """
    generations = []
    for generation in range(1, config.generations):
        out = config.out.with_name(f"{config.out.name}-generation{generation}")
        generations.append(dataclasses.replace(config, out=out, generations=1))
        config = _taught_by(config, out)
    generations.append(config)
    for own in generations[1:]:
        if has_begun(own.out):
            check_unchanged(
                own.out / "config.yaml",
                plain(own),
                else_give="another --out; generations that have begun keep their teachers",
            )
    return generations


def _taught_by(config: DistillConfig, run: Path) -> DistillConfig:
    """The config of the next generation, whose teacher is the student of a run."""
    own: dict[str, Any] = {
        field.name: field.default
        for field in dataclasses.fields(config)
        if field.name.startswith("teacher") or field.name == "more_teachers"
    }
    own |= {"teacher_precision": config.teacher_precision, "teacher_engine": config.teacher_engine}
    own |= {"seed": config.seed + 1, "teacher_weights": run}
    return dataclasses.replace(config, **own)


def _options_of_teacher(teacher: str | Path | nn.Module | None) -> dict[str, Any]:
    """The options that name a teacher given as a model name, a run directory, a file of weights or a module."""
    if isinstance(teacher, Path) or (isinstance(teacher, str) and Path(teacher).exists()):
        return {"teacher_weights": teacher}
    return {} if teacher is None else {"teacher": _name(teacher)}


def _name(model: str | nn.Module, role: str = "teacher") -> str:
    """What a config calls a model.

    Raises:
        StkdError: It is neither the name of a model nor a module.
    """
    if isinstance(model, nn.Module):
        return type(model).__name__
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise StkdError(
            f"the {role} is the class {model.__name__}; give a module that is made of it: {model.__name__}(...)"
        )
    if isinstance(model, Path) or (isinstance(model, str) and _is_weights(Path(model))):
        weights = "weights" if role == "model" else f"{role}_weights"
        raise StkdError(
            f"the {role} is the path {model}; give the name of a model or a module, and what it starts from as "
            f"{weights}={str(model)!r}"
        )
    if not isinstance(model, str):
        raise StkdError(f"the {role} must be the name of a model or a torch module, got a {type(model).__name__}")
    return model


def _is_weights(path: Path) -> bool:
    """Whether what may be a model's name is a file or a run; `resnet8` stays a name beside a run that is called so."""
    return path.is_file() or ((path / "config.yaml").is_file() and path.as_posix() not in zoo)


def _module(model: str | Path | nn.Module | None) -> nn.Module | None:
    """The module that was given, None for a name or a path."""
    return model if isinstance(model, nn.Module) else None


def _data(data: Any, config: type[RunConfig], options: Mapping[str, Any]) -> tuple[str, DataSet | None]:
    """What a config calls the data, and the data set; None where the name is enough to open it.

    Raises:
        StkdError: It is no data, or an option was given that only opening a data set could follow.
    """
    if isinstance(data, str):
        return data, None
    defaults = {field.name: field.default for field in dataclasses.fields(DataOptions)}
    given = checked(config, {name: options[name] for name in _OF_OPENING if options.get(name) is not None})
    given = {name: value for name, value in given.items() if value != defaults[name]}
    if isinstance(data, DataSet):
        for name in given:
            raise StkdError(f"{name} comes too late for a data set that is open; give it to stkd.open_data")
        return data.name, data
    for name in _OF_KINDS & set(given):
        raise StkdError(f"{name} is for data by name; a data set of yours has its own classes: leave it out")
    if (spec := spec_of(data)) is not None:
        return spec, None
    opened = data_from(data, **given)
    return opened.name, opened


_OF_KINDS = {"labels", "nested", "label_noise"}
_OF_OPENING = {
    *("image_size", "crop_pct", "interpolation", "skip_bad", "val_fraction", "train_images", "split_seed"),
    *_OF_KINDS,
}
