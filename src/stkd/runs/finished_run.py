"""A finished run, opened: its options, its model, its data, and its teacher where it had one."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from ..core.config import DistillConfig, TrainConfig
from ..core.errors import StkdError, UnknownName
from ..data import DataSet
from ..data.selection import data_of
from ..models.files import ModelInfo, load_model
from ..teachers import Ensemble, LiveTeacher
from ..teachers.loading import is_published, load_teacher, teacher_of
from .options import read_config

__all__ = ["FinishedRun", "asking_for_plugin", "data_seen_by", "open_model_for", "open_run"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FinishedRun:
    """A finished run, ready to be looked at.

    Attributes:
        path: Run directory, or the folder or file of weights that was given.
        config: Its options; None where there are weights alone.
        model: On the device, in evaluation mode.
        info: What the model expects, and its classes.
        teacher: On the device, from the same images to logits for the same classes; None if there is none.
        device: Where both models are.
        data_spec: Another data set with the same classes, instead of the run's own.
    """

    path: Path
    config: TrainConfig | DistillConfig | None
    model: nn.Module
    info: ModelInfo
    teacher: nn.Module | None
    device: torch.device
    data_spec: str | None = None

    @property
    def role(self) -> str:
        """What the model is called: "student", or "model" if it was trained alone."""
        return "student" if isinstance(self.config, DistillConfig) else "model"

    @cached_property
    def data(self) -> DataSet:
        """Its data set, or another that was asked for, with the normalisation and classes of the model.

        Raises:
            StkdError: It cannot be read, or has other classes.
        """
        config, spec = self.config, self.data_spec
        if config is None:
            raise StkdError(f"{self.path} does not say which images it was trained on; give a run directory")
        if spec is not None:
            config = dataclasses.replace(config, data=spec, val_fraction=0.0, train_images=None)
        with asking_for_plugin(self.path):
            data = data_seen_by(self.info, config)
        if data.classes and data.classes != self.info.classes:
            raise StkdError(f"{data.name} has other classes than the model; give --data one with the same classes")
        info = self.info
        return dataclasses.replace(data, mean=info.mean, std=info.std, classes=info.classes)


def data_seen_by(info: ModelInfo, config: TrainConfig | DistillConfig) -> DataSet:
    """The data set of a run as its model was evaluated on it.

    Raises:
        StkdError: It cannot be read.
    """
    return data_of(dataclasses.replace(config, crop_pct=info.crop_pct, interpolation=info.interpolation, norm="data"))


def open_run(
    path: Path,
    *,
    data_spec: str | None = None,
    model: nn.Module | None = None,
    teacher: Path | None = None,
    with_teacher: bool = True,
    device: torch.device | str = "cpu",
) -> FinishedRun:
    """Open a finished run, or weights written by stkd.

    Args:
        path: Run directory, a folder with its weights or those of a probe, or a .safetensors file.
        data_spec: Another data set with the same classes, instead of the run's own.
        model: A module that takes the weights, for a run whose model has no name here.
        teacher: Weights of a teacher for a run that had none.
        with_teacher: Whether the run's own teacher is wanted.
        device: Where the models are wanted.

    Raises:
        StkdError: The run, its weights or the teacher cannot be read.
    """
    device = torch.device(device)
    with asking_for_plugin(path):
        config = read_config(path) if (path / "config.yaml").is_file() else None
        module, info = load_model(path, model)
        own = None if config is None or not with_teacher else _teacher_of(config, path, info, device)
    if own is None and teacher is not None:
        own = open_model_for(teacher, info, device)
    return FinishedRun(path, config, module.to(device), info, own, device, data_spec)


@contextmanager
def asking_for_plugin(run: Path | None) -> Iterator[None]:
    """Where a name is unknown while a run is opened, ask for the plug-in that the run was made with.

    It is not loaded unasked: a run directory may come from anywhere, and a plug-in is executed.

    Raises:
        StkdError: In place of the error about the name.
    """
    try:
        yield
    except UnknownName as error:
        plugin = None
        if run is not None and (run / "config.yaml").is_file():
            plugin = read_config(run).plugin
        if plugin is None:
            raise
        raise StkdError(f"{error}; {run} was made with a plug-in, which is executed: give --plugin {plugin}") from None


def open_model_for(path: Path, data: DataSet | ModelInfo, device: torch.device) -> nn.Module:
    """The model of another run or file, as a module from images normalised as `data` says to logits for its classes.

    Raises:
        StkdError: It cannot be read, or does not know the classes.
    """
    with asking_for_plugin(path):
        return _Answering(load_teacher(None, path, data, device))


def _teacher_of(
    config: TrainConfig | DistillConfig, run: Path, info: ModelInfo, device: torch.device
) -> nn.Module | None:
    if not isinstance(config, DistillConfig) or not (config.teacher_weights or config.teacher_pretrained):
        return None
    files = [path for path in (config.teacher_weights, *(config.more_teachers or ())) if path is not None]
    gone = [str(path) for path in files if not path.exists() and not is_published(path)]
    if gone:
        _log.warning("the teacher's weights %s are gone; without them there is the student alone", gone[0])
        return None
    config = dataclasses.replace(config, out=run)  # it may have been moved since
    return _Answering(teacher_of(config, info, device))


class _Answering(nn.Module):
    """A teacher as a module, with what it does to images before its model sees them, since that costs time too."""

    def __init__(self, teacher: LiveTeacher | Ensemble) -> None:
        super().__init__()
        models = teacher.teachers if isinstance(teacher, Ensemble) else [teacher]
        self.models = nn.ModuleList(model.module for model in models)
        self.logits = teacher.logits

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(images)
