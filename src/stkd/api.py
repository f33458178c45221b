"""Training and distilling from Python; the command line calls the same functions."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import models
from .config import DataOptions, DistillConfig, RunConfig, TrainConfig, build
from .data import DataSet, open_data
from .errors import StkdError
from .methods import Method, parse, resolve_mix
from .models import weights
from .options import checked
from .plugins import load_plugin
from .report.card import write_card
from .saved import Card, find_weights, read_card
from .teacher import Teacher, read_classes, teacher_of
from .training.device import make_fabric
from .training.loop import Job, fit
from .training.run import RunDir, read_result

__all__ = ["Result", "distill", "run_distill", "run_train", "train"]


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
        method: "ce" or "mixup".
        options: Fields of `TrainConfig`.

    Raises:
        StkdError: An option, a file or a name is wrong.
    """
    named = {"model": _name(model), "data": _data_name(data), "method": method, "out": out}
    config = build(TrainConfig, checked(TrainConfig, {**options, **named}))
    return run_train(config, data=_given(data, config), model=_module(model))


def distill(
    teacher: str | nn.Module,
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
            module is frozen and put in evaluation mode.
        student: Model name or any module.
        data: "KIND:PATH" or a data set.
        method: Method name, with options if wanted ("stkd:temperature=2").
        out: Run directory; the same call again resumes.
        options: Fields of `DistillConfig`.

    Raises:
        StkdError: An option, a file or a name is wrong.
    """
    if isinstance(teacher, str) and Path(teacher).is_dir():
        options, teacher_name = {"teacher_weights": teacher, **options}, None
    else:
        teacher_name = _name(teacher)
    named = {"teacher": teacher_name, "student": _name(student), "data": _data_name(data), "method": method, "out": out}
    config = build(DistillConfig, checked(DistillConfig, {**options, **named}))
    return run_distill(config, data=_given(data, config), student=_module(student), teacher=_module(teacher))


def run_train(
    config: TrainConfig, *, data: DataSet | None = None, model: nn.Module | None = None, progress: bool = True
) -> Result:
    """Train as a config says; `data` and `model` stand in for what the config names."""
    method = _method(config)
    if method.uses_teacher:
        raise StkdError(f"method {config.method!r} needs a teacher; use 'stkd distill', or train with ce or mixup")
    subject = _Subject(config.model, "model.safetensors", model, config.weights, config.pretrained)
    return _run(config, method, subject, data, None, progress)


def run_distill(
    config: DistillConfig,
    *,
    data: DataSet | None = None,
    student: nn.Module | None = None,
    teacher: nn.Module | None = None,
    progress: bool = True,
) -> Result:
    """Distil as a config says; `data`, `student` and `teacher` stand in for what the config names.

    Several generations (born-again networks, Furlanello et al., ICML 2018) are runs beside each other, OUT-generation1
    and so on, each from other initial weights and taught by the one before; OUT is the last.
    """
    method = _method(config)
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
            teacher_weights=out,
            more_teachers=None,
            teacher_shares=None,
            teacher_pretrained=False,
            teacher_classes=None,
            teacher_mean=None,
            teacher_std=None,
            teacher_size=None,
        )
        teacher = None
    subject = _Subject(
        config.student, "student.safetensors", student, config.student_weights, config.student_pretrained
    )
    return _run(config, method, subject, data, teacher, progress)


def _method(config: TrainConfig | DistillConfig) -> Method:
    if config.plugin is not None:
        load_plugin(config.plugin)
    return parse(config.method)


@dataclass(frozen=True)
class _Subject:
    """The model to be trained, and where its weights come from and go to."""

    name: str
    weights_name: str
    module: nn.Module | None
    start: Path | None
    pretrained: bool

    def build(self, data: DataSet) -> nn.Module:
        module = self.module
        if module is not None:
            _check_fit(module, data)
        else:
            module = models.create(
                self.name,
                num_classes=len(data.classes),
                in_channels=data.channels,
                image_size=data.size,
                pretrained=self.pretrained,
            )
        if self.start is not None:
            weights.load(module, find_weights(self.start))
        return module


def _run(
    config: TrainConfig | DistillConfig,
    method: Method,
    subject: _Subject,
    data: DataSet | None,
    teacher_module: nn.Module | None,
    progress: bool,
) -> Result:
    mix = resolve_mix(
        method,
        kind=config.mix,
        instances=config.instances,
        alpha=config.alpha,
        per_sample=config.per_sample,
        real=config.real,
        beside=config.beside,
    )
    run = RunDir(config)
    try:
        done = read_result(run.path)
        if done is not None:
            return Result(run.path, run.path / subject.weights_name, done, fresh=False)
        data = data or open_data(
            config.data,
            labels=config.labels,
            image_size=config.image_size,
            val_fraction=config.val_fraction,
            train_images=config.train_images,
            split_seed=config.split_seed,
        )
        teacher = None
        if isinstance(config, DistillConfig) and method.uses_teacher:
            teacher, data = _teacher(config, data, teacher_module)
        if method.needs_labels and (data.train.labels < 0).any():
            raise StkdError(
                f"method {config.method!r} needs labels, and {data.name} has unlabelled training images; "
                "take --method fm, which learns from the teacher alone"
            )
        fabric = make_fabric(config)
        torch.manual_seed(config.seed)
        module = subject.build(data)
        name = subject.name
        if teacher is not None:
            sample = torch.zeros(2, data.channels, data.size, data.size)
            module, name = method.adapt(module, name, teacher.module, sample)
        card = Card(name, data.classes, data.channels, data.size, data.mean, data.std)
        run.write_environment({"data": data.fingerprint, "device": str(fabric.device)})
        job = Job(config, data, module, card, method, mix, teacher, subject.weights_name, progress)
        scores = fit(job, run, fabric)
        if fabric.is_global_zero:
            names = [member.card.model for member in teacher.members] if teacher is not None else []
            write_card(config, scores, card, subject.weights_name, " and ".join(names))
    finally:
        run.close()
    return Result(run.path, run.path / subject.weights_name, scores, fresh=True, model=module.cpu().eval())


def _teacher(config: DistillConfig, data: DataSet, module: nn.Module | None) -> tuple[Teacher, DataSet]:
    if module is not None:
        if config.teacher_weights or config.more_teachers:
            raise StkdError("the teacher is given as a module; leave out teacher_weights and more_teachers")
        _check_fit(module, data, config.teacher_size)
        mean, std = config.teacher_mean or data.mean, config.teacher_std or data.std
        card = Card(config.teacher or "", data.classes, data.channels, config.teacher_size or data.size, mean, std)
        return Teacher(module, card, data), data
    if not data.classes:
        data = dataclasses.replace(data, classes=_classes_of_teacher(config, data))
    return teacher_of(config, data), data


def _classes_of_teacher(config: DistillConfig, data: DataSet) -> tuple[str, ...]:
    """The classes of unlabelled images are those that the teacher tells apart."""
    if config.teacher_classes is not None:
        return read_classes(config.teacher_classes)
    card = read_card(find_weights(config.teacher_weights)) if config.teacher_weights is not None else None
    if card is None:
        raise StkdError(
            f"{data.name} names no classes and neither do the teacher's weights; give --teacher-classes FILE"
        )
    return card.classes


def _check_fit(module: nn.Module, data: DataSet, size: int | None = None) -> None:
    """A model made elsewhere must fit the images and classes; better known now than deep inside a loss."""
    side = size or data.size
    shape = (2, data.channels, side, side)
    wanted = (2, len(data.classes))
    mode = module.training
    try:
        with torch.no_grad():
            got = tuple(module.eval()(torch.zeros(shape)).shape)
    except RuntimeError as error:
        raise StkdError(f"{type(module).__name__} cannot take images {shape}: {' '.join(str(error).split())}") from None
    finally:
        module.train(mode)
    if got != wanted:
        raise StkdError(
            f"{type(module).__name__} answers {shape} with {got}, not {wanted}; "
            f"give it {wanted[1]} outputs, one for each class of {data.name}"
        )


def _name(model: str | nn.Module) -> str:
    return model if isinstance(model, str) else type(model).__name__


def _module(model: str | nn.Module) -> nn.Module | None:
    return None if isinstance(model, str) else model


def _data_name(data: str | DataSet) -> str:
    return data if isinstance(data, str) else data.name


def _given(data: str | DataSet, config: RunConfig) -> DataSet | None:
    if isinstance(data, str):
        return None
    for field in dataclasses.fields(DataOptions):
        if field.name in _OF_OPENING and getattr(config, field.name) != field.default:
            raise StkdError(f"{field.name} comes too late for a data set that is open; give it to stkd.open_data")
    return data


_OF_OPENING = {"labels", "image_size", "val_fraction", "train_images", "split_seed"}
