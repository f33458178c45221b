"""The teacher as a source of logits: frozen, outside the optimiser, with its own normalisation, size and classes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import models
from ..core.config import DistillConfig
from ..core.errors import StkdError
from ..data import DataSet
from ..data.digest import fingerprint
from ..data.loader import Batch
from ..models import weights
from ..models.files import ModelInfo, find_weights, read_info

__all__ = ["Ensemble", "Teacher", "open_teacher", "read_classes", "teacher_of"]


class Teacher:
    """A live teacher.

    Args:
        module: The model; it is frozen and put in evaluation mode.
        info: What the model expects and which classes it knows.
        data: What it teaches on: a data set, or what its student expects.

    Attributes:
        runner: What runs prepared images in training: the module, or something faster that stands for it.
        record: How that was chosen, for the record of the run; None before.

    Raises:
        StkdError: It does not know a class of the data set.
    """

    def __init__(self, module: nn.Module, info: ModelInfo, data: DataSet | ModelInfo) -> None:
        if not len(info.mean) == len(info.std) == info.channels or min(info.std) <= 0:
            raise StkdError(
                f"a teacher of {info.channels} channels needs as many means and positive standard deviations, "
                f"got {list(info.mean)} and {list(info.std)}"
            )
        self.module = module.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.runner: Callable[[Tensor], Tensor] = self.module
        self.record: dict[str, Any] | None = None
        self.info = info
        self.classes = _class_map(info.classes, data.classes)
        self.size = info.size if info.size != data.size else None
        self.widen = info.channels == 3 and data.channels == 1
        if not self.widen and info.channels != data.channels:
            raise StkdError(f"the teacher takes {info.channels} channels, the data set has {data.channels}")
        self.renormalise = _renormalise(data.mean, data.std, info.mean, info.std)

    def to(self, device: torch.device) -> Teacher:
        """Move it to a device, in place."""
        self.module.to(device)
        if self.classes is not None:
            self.classes = self.classes.to(device)
        if self.renormalise is not None:
            self.renormalise = (self.renormalise[0].to(device), self.renormalise[1].to(device))
        return self

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Tensor:
        """Logits (R, C) for a training batch; a teacher that does not run the model may look up which batch it is."""
        return self._known(self.runner(self.prepare(batch.images)))

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, C) for the data set's classes, by the model itself.

        Args:
            images: (B, C, H, W), normalised as the data set says.
        """
        return self._known(self.module(self.prepare(images)))

    def _known(self, logits: Tensor) -> Tensor:
        return logits if self.classes is None else logits[:, self.classes]

    def prepare(self, images: Tensor) -> Tensor:
        """The images as this teacher wants them: its channels, normalisation and size."""
        if self.widen:
            images = images.expand(-1, 3, -1, -1)
        if self.renormalise is not None:
            images = images * self.renormalise[0] + self.renormalise[1]
        if self.size is not None:
            images = F.interpolate(images, size=(self.size, self.size), mode="bilinear", antialias=True)
        return images

    @property
    def name(self) -> str:
        """Name of the model, or of the several that answer."""
        return self.info.model

    def fingerprint(self) -> str:
        """Hex digest of its weights and statistics."""
        digest = hashlib.blake2b(digest_size=16)
        for name, tensor in self.module.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def identity(self) -> str:
        """Hex digest of all that its logits depend on but the images: weights, normalisation, size, classes."""
        info = self.info
        return fingerprint(self.fingerprint(), info.classes, info.channels, info.size, info.mean, info.std)


class Ensemble(Teacher):
    """Several teachers that answer with the weighted mean of their logits.

    Args:
        teachers: Two or more.
        shares: Their weights, in the same order; None gives all the same. They are scaled to sum to one.

    Raises:
        StkdError: The weights do not fit.
    """

    def __init__(self, teachers: Sequence[Teacher], shares: Sequence[float] | None = None) -> None:
        shares = shares or [1.0] * len(teachers)
        if len(shares) != len(teachers) or min(shares) <= 0:
            raise StkdError(f"{len(teachers)} teachers need as many positive shares, got {list(shares)}")
        self.teachers = list(teachers)
        self.shares = [share / sum(shares) for share in shares]
        self.module = nn.ModuleList(teacher.module for teacher in teachers)

    def to(self, device: torch.device) -> Teacher:
        for teacher in self.teachers:
            teacher.to(device)
        return self

    def __call__(self, batch: Batch) -> Tensor:
        return self._mean([teacher(batch) for teacher in self.teachers])

    def logits(self, images: Tensor) -> Tensor:
        return self._mean([teacher.logits(images) for teacher in self.teachers])

    def _mean(self, logits: Sequence[Tensor]) -> Tensor:
        logits = [share * one for share, one in zip(self.shares, logits, strict=True)]
        return torch.stack(logits).sum(0)

    @property
    def name(self) -> str:
        return " and ".join(teacher.name for teacher in self.teachers)

    def identity(self) -> str:
        return fingerprint([teacher.identity() for teacher in self.teachers], self.shares)

    def prepare(self, images: Tensor) -> Tensor:
        raise StkdError("this method looks at features, and several teachers have several; give it one teacher")


def _class_map(own: tuple[str, ...], wanted: tuple[str, ...]) -> Tensor | None:
    if own == wanted:
        return None
    position = {name: i for i, name in enumerate(own)}
    strange = [name for name in wanted if name not in position]
    if strange:
        raise StkdError(
            f"the teacher has {len(own)} classes, the data set {len(wanted)}, and the teacher does not know "
            f"{', '.join(map(repr, strange[:3]))}{' ...' if len(strange) > 3 else ''}; "
            "name the teacher's classes with --teacher-classes FILE, or train a teacher on this data set"
        )
    return torch.tensor([position[name] for name in wanted])


def _renormalise(
    mean: Sequence[float], std: Sequence[float], own_mean: Sequence[float], own_std: Sequence[float]
) -> tuple[Tensor, Tensor] | None:
    """Factor and shift from one normalisation to another; None where they are the same."""
    m, s, om, os = (torch.tensor(v).view(1, -1, 1, 1) for v in (mean, std, own_mean, own_std))
    factor, shift = s / os, (m - om) / os
    if torch.equal(om, m) and torch.equal(os, s):
        return None
    return factor, shift


def open_teacher(
    name: str | None,
    weights_path: Path | None,
    data: DataSet | ModelInfo,
    *,
    options: Mapping[str, Any] | None = None,
    pretrained: bool = False,
    classes: Path | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    size: int | None = None,
) -> Teacher:
    """A teacher by name and weights.

    Args:
        name: Model name; may be left out when the weights say it.
        weights_path: .safetensors, .pth or a run directory.
        data: The data set it teaches on.
        options: Keyword arguments of the model; None takes those that the weights name.
        pretrained: Use the published weights of a timm or torchvision model instead.
        classes: Text file of its class names, one a line.
        mean, std, size: What it was trained with, where that is neither in the weights nor the same as the data's.

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
    return Teacher(module, ModelInfo(name, own, channels, size, mean, std, options), data)


def teacher_of(config: DistillConfig, data: DataSet | ModelInfo) -> Teacher:
    """The teacher, or the teachers, that a config names.

    Raises:
        StkdError: A name, weights or classes are missing or do not fit.
    """

    def one(name: str | None, path: Path | None, options: Mapping[str, Any] | None = None) -> Teacher:
        return open_teacher(
            name,
            path,
            data,
            options=options,
            pretrained=config.teacher_pretrained,
            classes=config.teacher_classes,
            mean=config.teacher_mean,
            std=config.teacher_std,
            size=config.teacher_size,
        )

    first = one(config.teacher, config.teacher_weights, config.teacher_options)
    if not config.more_teachers:
        return first
    return Ensemble([first, *(one(None, path) for path in config.more_teachers)], config.teacher_shares)


def read_classes(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one a line.

    Raises:
        StkdError: The file cannot be read or repeats a name.
    """
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, UnicodeDecodeError):
        raise StkdError(f"cannot read the class names in {path}; give a text file with one name a line") from None
    if len(set(names)) != len(names) or not names:
        raise StkdError(f"{path} must hold each class name once, one a line")
    return names
