"""The teacher of a training: a cache, a module that was given, or what the options name."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Sequence

import torch
from torch import nn

from ..core.config import DistillConfig
from ..core.errors import StkdError
from ..core.fabric import Fabric
from ..data import DataSet
from ..data.samples import describe_images, describe_samples
from ..evaluation.cost import device_of
from ..methods import Method
from ..mixing import Mix
from ..models.files import ModelInfo
from ..models.outputs import as_logits
from .base import Teacher
from .cache import need_header
from .cached import CachedTeacher
from .ensemble import Ensemble
from .live import LiveTeacher
from .loading import probe_as_asked, teacher_of
from .normalisations import normalisation_of
from .onnx_file import OnnxModel
from .views import difference

__all__ = ["fitting", "live_teacher", "open_teacher"]

_log = logging.getLogger(__name__)


def open_teacher(
    config: DistillConfig, methods: Sequence[Method], mix: Mix, fabric: Fabric, data: DataSet, module: nn.Module | None
) -> Teacher:
    """The teacher, on its device.

    Args:
        config: The options.
        methods: The methods that learn from it.
        mix: The virtual samples.
        fabric: Where it runs.
        data: The data set, with class names.
        module: Stands in for the teacher that the config names.

    Raises:
        StkdError: It does not fit the data or a method, or its cache is of other samples.
    """
    if config.teacher_cache is not None:
        return _cached(config, methods, mix, fabric, data, module)
    teacher = live_teacher(config, data, fabric.device, module)
    if any(method.needs for method in methods) and not isinstance(teacher, LiveTeacher):
        raise StkdError("this method looks at features, and several teachers have several; give it one teacher")
    needing = any(method.needs for method in methods)
    if needing and isinstance(teacher, LiveTeacher) and isinstance(teacher.module, OnnxModel):
        raise StkdError(
            f"method {config.method!r} looks at the teacher's features, and {teacher.name} shows its logits alone; "
            "take a method on logits, such as stkd, kd or dist"
        )
    for one in teacher.teachers if isinstance(teacher, Ensemble) else [teacher]:
        if (line := difference(one, data)) is not None:
            _log.info("%s", line)
    return teacher


def _cached(
    config: DistillConfig, methods: Sequence[Method], mix: Mix, fabric: Fabric, data: DataSet, module: nn.Module | None
) -> CachedTeacher:
    folder = config.teacher_cache
    assert folder is not None
    header = need_header(folder)
    if any(method.needs for method in methods):
        raise StkdError(f"this method looks at features, and {folder} holds logits alone; leave out --teacher-cache")
    if header.top_k is not None and any(method.all_logits for method in methods):
        raise StkdError(
            f"this method compares all logits as they are, and {folder} holds the {header.top_k} largest; "
            "make a cache without --top-k"
        )
    samples, images = describe_samples(config, data, mix), describe_images(data)
    asked = dataclasses.replace(header, samples=samples, classes=data.classes, images=images)
    if module is not None or config.teacher_weights is not None or config.teacher_pretrained:
        live = live_teacher(config, data, fabric.device, module)
        asked = dataclasses.replace(asked, teacher=live.fingerprint(), teacher_name=live.name)
    header.check(asked, folder)
    cycle = config.sample_epochs or config.epochs
    return CachedTeacher(folder, header, fabric.device, cycle=cycle)


def live_teacher(
    config: DistillConfig, data: DataSet, device: torch.device, module: nn.Module | None
) -> LiveTeacher | Ensemble:
    """The teacher, or the teachers, that run a model.

    Args:
        config: The options.
        data: The data set.
        device: Where it runs.
        module: Stands in for the teacher that the config names.

    Raises:
        StkdError: A name, weights or classes are missing or do not fit.
    """
    if module is None:
        return teacher_of(config, data, device)
    if config.teacher_weights or config.more_teachers:
        raise StkdError("the teacher is given as a module; leave out teacher_weights and more_teachers")
    if config.teacher_probe:
        module = copy.deepcopy(module)  # the user's own keeps its head
    module = fitting(module, data, config.teacher_size, outputs=not config.teacher_probe)
    mean, std = normalisation_of(config)
    info = ModelInfo(
        config.teacher or "",
        data.classes,
        data.channels,
        config.teacher_size or data.size,
        mean or data.mean,
        std or data.std,
    )
    teacher = LiveTeacher(module, info, data, device)
    if config.teacher_probe:
        probe_as_asked(config, teacher, data)
    return teacher


def fitting(module: nn.Module, data: DataSet, size: int | None = None, *, outputs: bool = True) -> nn.Module:
    """A model made elsewhere as one that answers with logits: itself, or wrapped where it answers with more.

    Args:
        module: The model, on any device.
        data: The data set, whose images and classes it must fit.
        size: Side in pixels of the images that it takes; None takes the data's.
        outputs: Whether it must have an output for each class.

    Raises:
        StkdError: It does not take such images, or answers with another shape than (2, classes) or with NaN.
    """
    side = size or data.size
    shape = (2, data.channels, side, side)
    wanted = (2, len(data.classes))
    mode = module.training
    try:
        module = as_logits(module, data.channels, side, len(data.classes) if outputs else None)
        with torch.no_grad():
            answer = module.eval()(torch.zeros(shape, device=device_of(module)))
    except (RuntimeError, TypeError) as error:
        raise StkdError(f"{type(module).__name__} cannot take images {shape}: {' '.join(str(error).split())}") from None
    finally:
        module.train(mode)
    got = tuple(answer.shape)
    if outputs and got != wanted:
        raise StkdError(
            f"{type(module).__name__} answers {shape} with {got}, not {wanted}; "
            f"give it {wanted[1]} outputs, one for each class of {data.name}"
        )
    if not answer.is_meta and not bool(torch.isfinite(answer).all()):
        raise StkdError(
            f"{type(module).__name__} answers a black image with NaN or infinite numbers; check its weights"
        )
    return module
