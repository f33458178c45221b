"""Live teachers from what options name: models by name, and their weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from .. import models
from ..core.config import DistillConfig
from ..core.errors import StkdError
from ..data import DataSet
from ..models import weights
from ..models.files import ModelInfo, find_weights, read_info
from .classes import read_classes
from .ensemble import Ensemble
from .live import LiveTeacher

__all__ = ["load_teacher", "teacher_of"]


def load_teacher(
    name: str | None,
    weights_path: Path | None,
    data: DataSet | ModelInfo,
    device: torch.device,
    *,
    pretrained: bool = False,
    classes: Path | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    size: int | None = None,
    options: Mapping[str, Any] | None = None,
) -> LiveTeacher:
    """A teacher by name and weights.

    Args:
        name: Model name; may be left out when the weights say it.
        weights_path: .safetensors, .pth or a run directory.
        data: The data set it teaches on, or what its student expects.
        device: Where it runs.
        pretrained: Use the published weights of a timm or torchvision model instead.
        classes: Text file of its class names, one a line.
        mean, std, size: What it was trained with, where that is neither in the weights nor the same as the data's.
        options: Keyword arguments of the model; None takes those that the weights name.

    Raises:
        StkdError: Name or weights are missing or do not fit each other.
    """
    file = find_weights(weights_path) if weights_path is not None else None
    info = read_info(file) if file is not None else None
    if file is None and not pretrained:
        raise StkdError("a teacher needs weights: give --teacher-weights FILE or RUN, or --teacher-pretrained")
    if name is None:
        if info is None:
            raise StkdError("--teacher is missing: the weights do not say which model they are for")
        info.check_local()
        name = info.model
    if options is None and info is not None:
        options = info.options
    recorded, options = models.recorded_name(name, options)
    if info is not None and info.model not in (name, recorded):
        raise StkdError(f"the teacher's weights are of {info.model}, not of {name}; give --teacher {info.model}")
    own = read_classes(classes) if classes is not None else info.classes if info is not None else data.classes
    channels = info.channels if info is not None else data.channels
    size = size or (info.size if info is not None else data.size)
    if pretrained and file is None and classes is None:
        raise StkdError("--teacher-pretrained needs --teacher-classes FILE with the names of its classes, one a line")
    module = models.create(
        name, num_classes=len(own), in_channels=channels, image_size=size, pretrained=pretrained, options=options
    )
    if file is not None:
        weights.load(module, file)
    known = info if info is not None else data
    published = getattr(module, "pretrained_cfg", {}) if pretrained else {}
    mean = mean or tuple(published.get("mean", known.mean))
    std = std or tuple(published.get("std", known.std))
    return LiveTeacher(module, ModelInfo(name, own, channels, size, mean, std, options), data, device)


def teacher_of(config: DistillConfig, data: DataSet | ModelInfo, device: torch.device) -> LiveTeacher | Ensemble:
    """The teacher, or the teachers, that a config names.

    Raises:
        StkdError: A name, weights or classes are missing or do not fit.
    """

    def one(name: str | None, path: Path | None, options: Mapping[str, Any] | None = None) -> LiveTeacher:
        return load_teacher(
            name,
            path,
            data,
            device,
            pretrained=config.teacher_pretrained,
            classes=config.teacher_classes,
            mean=config.teacher_mean,
            std=config.teacher_std,
            size=config.teacher_size,
            options=options,
        )

    first = one(config.teacher, config.teacher_weights, config.teacher_options)
    if not config.more_teachers:
        return first
    return Ensemble([first, *(one(None, path) for path in config.more_teachers)], config.teacher_shares)
