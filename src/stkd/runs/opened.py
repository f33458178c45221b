"""A finished run, opened: its options, its model, and its teacher where it had one."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import yaml
from torch import Tensor, nn

from ..core.config import DistillConfig, TrainConfig, build
from ..core.errors import StkdError, UnknownName
from ..core.options import checked
from ..data import DataSet
from ..models.files import ModelInfo
from ..teachers.live import Teacher, open_teacher, teacher_of

__all__ = ["asking_for_plugin", "open_model_for", "open_teacher_of", "read_config"]


def read_config(run: Path) -> TrainConfig | DistillConfig:
    """The options that a run was started with.

    Raises:
        StkdError: It is not a run directory.
    """
    file = run / "config.yaml"
    if not file.is_file():
        raise StkdError(f"{run} is not a run directory: it has no config.yaml")
    try:
        options = yaml.safe_load(file.read_text(encoding="utf-8"))
        if "student" in options:
            return build(DistillConfig, checked(DistillConfig, options))
        return build(TrainConfig, checked(TrainConfig, options))
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, StkdError):
        raise StkdError(f"{file} is damaged; give another run") from None


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


def open_teacher_of(
    config: TrainConfig | DistillConfig, data: DataSet | ModelInfo, device: torch.device
) -> nn.Module | None:
    """The teacher of a run, as a module from images normalised as `data` says to logits for its classes.

    Returns:
        None for a run without one, and with a warning where its weights are gone.
    """
    if not isinstance(config, DistillConfig) or not (config.teacher_weights or config.teacher_pretrained):
        return None
    gone = [str(p) for p in (config.teacher_weights, *(config.more_teachers or ())) if p is not None and not p.exists()]
    if gone:
        warnings.warn(
            f"the teacher's weights {gone[0]} are gone; without them there is the student alone", stacklevel=2
        )
        return None
    return _Answering(teacher_of(config, data).to(device))


def open_model_for(path: Path, data: DataSet | ModelInfo, device: torch.device) -> nn.Module:
    """The model of another run or file, as a module from images normalised as `data` says to logits for its classes.

    Raises:
        StkdError: It cannot be read, or does not know the classes.
    """
    with asking_for_plugin(path):
        return _Answering(open_teacher(None, path, data).to(device))


class _Answering(nn.Module):
    """A teacher as a module, with what it does to images before its model sees them, since that costs time too."""

    def __init__(self, teacher: Teacher) -> None:
        super().__init__()
        self.model = teacher.module
        self.logits = teacher.logits

    def forward(self, images: Tensor) -> Tensor:
        return self.logits(images)
