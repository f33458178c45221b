"""Models on disk: safetensors files that say which model they hold, for which classes and which normalisation."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from .. import models
from ..core.errors import StkdError
from . import weights

__all__ = ["ModelInfo", "find_weights", "load_model", "read_info", "save_model"]

_KEY = "stkd"


@dataclass(frozen=True)
class ModelInfo:
    """What has to be known to use a model's weights.

    Attributes:
        model: Name for `stkd.models.create`; a model made in Python has the name of its class.
        classes: Class names, position = label.
        channels: Channels of its images.
        size: Side of its images in pixels.
        mean, std: Normalisation of images scaled to 0..1.
    """

    model: str
    classes: tuple[str, ...]
    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def build(self) -> nn.Module:
        """The model, with initial weights.

        Raises:
            StkdError: There is none of this name.
        """
        return models.create(self.model, num_classes=len(self.classes), in_channels=self.channels, image_size=self.size)


def save_model(module: nn.Module, path: Path, info: ModelInfo) -> None:
    """Write weights and what describes them to a safetensors file, whole or not at all."""
    weights.save(module, path, {_KEY: json.dumps(asdict(info))})


def read_info(path: Path) -> ModelInfo | None:
    """What a safetensors file says of its model; None for other files and for files that say nothing."""
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
    except (OSError, SafetensorError):
        return None  # reading the weights will say what is wrong with the file
    if text is None:
        return None
    try:
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(text).items()}
        return ModelInfo(**fields)
    except (ValueError, TypeError, AttributeError):
        raise StkdError(f"the header of {path} was not written by this version of stkd; give another file") from None


def find_weights(path: Path) -> Path:
    """The file of weights behind a path: the file itself, or the one that a run directory ends with.

    Raises:
        StkdError: There is none.
    """
    if not path.exists():
        raise StkdError(f"{path} does not exist; give a .safetensors or .pth file, or a finished run directory")
    if not path.is_dir():
        return path
    for name in ("student.safetensors", "model.safetensors"):
        if (path / name).is_file():
            return path / name
    raise StkdError(f"{path} holds no student.safetensors or model.safetensors; is the run finished?")


def load_model(path: Path) -> tuple[nn.Module, ModelInfo]:
    """The model of a run directory or of a safetensors file written by stkd, in evaluation mode.

    Raises:
        StkdError: The file is missing, damaged, or does not say which model it holds.
    """
    file = find_weights(path)
    info = read_info(file)
    if info is None:
        weights.read_state(file)  # a damaged file is the better thing to report
        raise StkdError(f"{file} does not say which model it holds; give a file or directory that stkd wrote")
    try:
        module = info.build()
    except StkdError as error:
        raise type(error)(
            f"{file} holds a {info.model}, which cannot be built by name ({error}); "
            "load the weights into your own module with stkd.models.load"
        ) from None
    weights.load(module, file)
    return module.eval(), info
