"""From options to what trains: method, samples, data, teacher, batches, and a student that is ready to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .. import models
from ..core.config import DistillConfig, TrainConfig
from ..core.errors import StkdError
from ..core.fabric import Fabric
from ..data import DataSet
from ..data.loader import TrainLoader
from ..data.selection import data_of
from ..methods import Method
from ..mixing import Mix
from ..models import weights
from ..models.files import ModelInfo, find_weights
from ..runs.directory import RunDir
from ..teachers.live import Teacher
from ..teachers.selection import check_fit, choose_teacher
from .learner import Job, Learner
from .samples import make_loader

__all__ = ["Shared", "Subject", "prepare", "ready"]


@dataclass(frozen=True)
class Subject:
    """The model to be trained, and where its weights come from and go to."""

    name: str
    weights_name: str
    module: nn.Module | None
    start: Path | None
    pretrained: bool
    options: Mapping[str, Any] | None = None

    def build(self, data: DataSet) -> nn.Module:
        """The module."""
        module = self.module
        if module is not None:
            check_fit(module, data)
        else:
            module = models.create(
                self.name,
                num_classes=len(data.classes),
                in_channels=data.channels,
                image_size=data.size,
                pretrained=self.pretrained,
                options=self.options,
            )
        if self.start is not None:
            weights.load(module, find_weights(self.start))
        return module

    def recorded(self) -> tuple[str, dict[str, Any]]:
        """The name and options that are written beside its weights."""
        return (self.name, {}) if self.module is not None else models.recorded_name(self.name, self.options)


@dataclass(frozen=True)
class Shared:
    """What students that learn from one teacher pass have in common."""

    data: DataSet
    mix: Mix
    teacher: Teacher | None
    loader: TrainLoader


def prepare(
    config: TrainConfig | DistillConfig,
    uses: Sequence[Method],
    mix: Mix,
    fabric: Fabric,
    *,
    data: DataSet | None,
    teacher: nn.Module | None,
) -> Shared:
    """Open data and teacher.

    Args:
        config: Of the run, or of one of several that share all this.
        uses: The methods.
        mix: The virtual samples.
        fabric: Where it runs.
        data, teacher: Stand in for what the config names.
    """
    data = data or data_of(config)
    found = None
    if isinstance(config, DistillConfig) and any(method.uses_teacher for method in uses):
        found, data = choose_teacher(config, uses, mix, fabric, data, teacher)
    return Shared(data, mix, found, make_loader(config, data, mix, fabric))


def ready(
    config: TrainConfig | DistillConfig,
    method: Method,
    subject: Subject,
    shared: Shared,
    run: RunDir,
    fabric: Fabric,
    *,
    beside: Sequence[str] = (),
) -> Learner:
    """A student that is ready to learn, from its own initial weights.

    Args:
        config: Its options.
        method: How it learns.
        subject: The student.
        shared: Data, samples and teacher.
        run: Its directory.
        fabric: Its device and precision.
        beside: Names of students that train beside it, for the record: they share its time.
    """
    data, teacher = shared.data, shared.teacher if method.uses_teacher else None
    if method.needs_labels and (data.train.labels < 0).any():
        raise StkdError(
            f"method {config.method!r} needs labels, and {data.name} has unlabelled training images; "
            "take --method fm, which learns from the teacher alone"
        )
    torch.manual_seed(config.seed)
    module, (name, options) = subject.build(data), subject.recorded()
    if teacher is not None:
        sample = torch.zeros(2, data.channels, data.size, data.size)
        module, name = method.adapt(module, name, teacher.module, sample)
    info = ModelInfo(name, data.classes, data.channels, data.size, data.mean, data.std, options)
    info.check()
    run.write_environment({"data": data.fingerprint, "device": str(fabric.device), "beside": list(beside)})
    job = Job(config, data, module, info, method, shared.mix, teacher, subject.weights_name)
    return Learner(job, run, fabric, shared.loader)
