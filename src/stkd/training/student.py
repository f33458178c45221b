"""The student of a training: built from its options, on its device, with what its method adds to it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .. import models
from ..core.config import DistillConfig, TrainConfig
from ..core.errors import StkdError
from ..core.fabric import Fabric
from ..data import DataSet
from ..data.class_weights import BALANCED, class_weights
from ..data.digest import fingerprint
from ..methods import Method
from ..models import weights
from ..models.class_names import places
from ..models.files import ModelInfo, find_weights, read_info
from ..models.outputs import as_logits
from ..teachers import LiveTeacher, Teacher
from ..teachers.selection import fitting
from .features import Features, attach

__all__ = ["Student", "check_labels", "make_student"]

_log = logging.getLogger(__name__)


@dataclass
class Student:
    """A student that is ready to train.

    Attributes:
        config: Its options.
        method: How it learns.
        module: The model, on the device.
        info: What has to be known to use its weights.
        teacher: What it learns from; None if its method uses none.
        fabric: Device and precision, with the state of its own gradient scaler.
        features: The features that its method looks at, if any.
        extras: Modules that its method trains beside it, if any.
        class_weights: float32 (C,), of the cross-entropy, on the device; None weighs all classes alike.
        identity: Digests of class names, data and teacher, to which its checkpoints belong.
        fast: The module as the training step calls it.
        engines: How teacher and student are run, for the record.
    """

    config: TrainConfig | DistillConfig
    method: Method
    module: nn.Module
    info: ModelInfo
    teacher: Teacher | None
    fabric: Fabric
    features: Features | None
    extras: nn.Module | None
    class_weights: Tensor | None
    identity: dict[str, str]
    fast: nn.Module
    engines: dict[str, Any] = field(default_factory=dict)


def check_labels(config: TrainConfig | DistillConfig, method: Method, data: DataSet) -> None:
    """See that a method that needs labels has them.

    Raises:
        StkdError: It has not.
    """
    if not method.needs_labels or not (data.train.labels < 0).any():
        return
    if isinstance(config, DistillConfig) and config.unlabelled is not None:
        if method.looks_at_labels:
            raise StkdError(
                f"method {config.method!r} looks at the label of every image, and those of --unlabelled have none; "
                "take one that looks at the teacher alone beside the cross-entropy, such as stkd, kd or fm"
            )
    else:
        raise StkdError(
            f"method {config.method!r} needs labels, and {data.name} has unlabelled training images; "
            "take --method fm, which learns from the teacher alone"
        )


def make_student(
    config: TrainConfig | DistillConfig,
    module: nn.Module | None,
    method: Method,
    fabric: Fabric,
    data: DataSet,
    teacher: Teacher | None,
    labels: Tensor,
) -> Student:
    """A student with its initial weights, which depend on its own seed alone.

    Args:
        config: Its options.
        module: Stands in for the model that the config names.
        method: How it learns.
        fabric: Its device and precision.
        data: The data set.
        teacher: What it learns from, if its method uses a teacher.
        labels: int64 (N,), of the training images, on the device.

    Raises:
        StkdError: A name or weights are wrong, or model, data and method do not fit each other.
    """
    teacher = teacher if method.uses_teacher else None
    live = teacher if isinstance(teacher, LiveTeacher) else None
    torch.manual_seed(config.seed)
    module, name, options = _build(config, module, data)
    if live is not None:
        sample = torch.zeros(2, data.channels, data.size, data.size)
        taught = live.preprocess(sample.to(fabric.device))
        module, name = method.adapt(module, name, live.module, sample, taught, live.class_map)
    module = module.to(fabric.device).to(memory_format=torch.channels_last)
    if fabric.world_size > 1:
        module = _normalised_together(module, fabric)
    features, extras = attach(method, module, live, data, labels)
    identity = {
        "classes": fingerprint(data.classes),
        "data": data.fingerprint,
        "teacher": "" if teacher is None else teacher.fingerprint(),
    }
    of_classes = _class_weights(config, method, data, fabric)
    if of_classes is not None and config.class_weights not in (None, BALANCED):
        identity["class_weights"] = fingerprint(of_classes.tolist())
    seen = (data.channels, data.size, data.mean, data.std, options, data.crop_pct, data.interpolation)
    info = ModelInfo(name, data.classes, *seen)
    info.check()
    return Student(config, method, module, info, teacher, fabric, features, extras, of_classes, identity, fast=module)


def _normalised_together(module: nn.Module, fabric: Fabric) -> nn.Module:
    """The module with batch normalisation over the images of all processes, where torch has that."""
    if not any(isinstance(part, _BatchNorm) for part in module.modules()):
        return module
    if fabric.device.type == "cuda":
        from timm.layers import convert_sync_batchnorm  # type: ignore[attr-defined]

        return cast(nn.Module, convert_sync_batchnorm(module))  # type: ignore[no-untyped-call]
    _log.warning(
        "batch normalisation of the %s is over the images of each of %d processes, not over the batch: on a %s torch "
        "has no other, so that the weights are not those of one process",
        *(type(module).__name__, fabric.world_size, fabric.device.type),
    )
    return module


def _class_weights(config: TrainConfig | DistillConfig, method: Method, data: DataSet, fabric: Fabric) -> Tensor | None:
    if config.class_weights is None:
        return _of_labels_alone(method, data, fabric)
    of_classes = torch.from_numpy(class_weights(config.class_weights, data)).to(fabric.device)
    if method.label_weight == 0:
        _log.warning("class_weights changes nothing: the method %s does not look at the labels", config.method)
    return of_classes


def _of_labels_alone(method: Method, data: DataSet, fabric: Fabric) -> Tensor | None:
    """Equal weights where some images have no label: the cross-entropy is then the mean over those that have one."""
    if method.label_weight == 0 or not (data.train.labels < 0).any():
        return None
    return torch.ones(len(data.classes), device=fabric.device)


def _build(
    config: TrainConfig | DistillConfig, module: nn.Module | None, data: DataSet
) -> tuple[nn.Module, str, dict[str, Any]]:
    """The module, and the name and options that are written beside its weights."""
    asked = _asked(config)
    if module is not None:
        answering = fitting(module, data)
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise StkdError(
                f"nothing of the {type(module).__name__} can be trained: requires_grad is false for all of its "
                "parameters; give a student that is not frozen"
            )
        recorded: tuple[str, dict[str, Any]] = (asked.name, {})
        if asked.name not in models.models:
            _log.info(
                "%s is a module of yours, which its name cannot build: open the run by stkd.load(%r, model=MODULE), or "
                "with --plugin FILE that registers the name",
                *(asked.name, str(config.out)),
            )
    else:
        module = models.create(
            asked.name,
            num_classes=len(data.classes),
            in_channels=data.channels,
            image_size=data.size,
            pretrained=asked.pretrained,
            options=asked.options,
        )
        answering = as_logits(module, data.channels, data.size, len(data.classes))
        recorded = models.recorded_name(asked.name, asked.options)
    if asked.weights is not None:
        file = find_weights(asked.weights)
        info = read_info(file)
        held = weights.classes_in(file) if info is None else info.classes
        weights.load(
            module,
            file,
            role="student" if isinstance(config, DistillConfig) else "model",
            key=asked.key,
            new_head=True,
            rows=places(held, data.classes) if held is not None else None,
        )
    return answering, *recorded


@dataclass(frozen=True)
class _Asked:
    """The model that a config names."""

    name: str
    options: dict[str, Any] | None
    weights: Path | None
    key: str | None
    pretrained: bool


def _asked(config: TrainConfig | DistillConfig) -> _Asked:
    if isinstance(config, DistillConfig):
        start = config.student_weights, config.student_weights_key, config.student_pretrained
        return _Asked(config.student, config.student_options, *start)
    return _Asked(config.model, config.model_options, config.weights, config.weights_key, config.pretrained)
