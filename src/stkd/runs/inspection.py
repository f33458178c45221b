"""A finished run opened with its data and teacher, and its predictions for single images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..core.config import DistillConfig, TrainConfig
from ..core.errors import StkdError
from ..data import DataSet
from ..data.selection import data_of
from ..models.files import ModelInfo, load_model
from .opened import asking_for_plugin, open_model_for, open_teacher_of, read_config

__all__ = ["OpenRun", "open_run", "predict_images", "read_config"]

_CHUNK = 64  # images decoded and shown to the models at once


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _open_data(config: TrainConfig | DistillConfig, spec: str | None) -> DataSet:
    if spec is not None:
        config = dataclasses.replace(config, data=spec, val_fraction=0.0, train_images=None)
    return data_of(config)


@dataclass(frozen=True)
class OpenRun:
    """A finished run with everything that it takes to look at it.

    Attributes:
        path: Run directory.
        config: Its options.
        model: On the device, in evaluation mode.
        data: With the normalisation and classes that the model was trained with.
        teacher: On the device, for the same images and classes; None if there is none.
        device: Where both models are.
    """

    path: Path
    config: TrainConfig | DistillConfig
    model: nn.Module
    data: DataSet
    teacher: nn.Module | None
    device: torch.device


def open_run(run: Path, *, data_spec: str | None = None, teacher: Path | None = None) -> OpenRun:
    """Open a finished run.

    Args:
        run: Run directory.
        data_spec: Another data set with the same classes, instead of the run's own.
        teacher: Weights of a teacher for a run that had none.

    Raises:
        StkdError: The run, its weights, the data or the teacher cannot be read.
    """
    if not run.is_dir():
        raise StkdError(f"{run} is not a run directory; give one that 'stkd train' or 'stkd distill' wrote")
    config = read_config(run)
    device = _device()
    with asking_for_plugin(run):
        model, info = load_model(run)
        data = _open_data(config, data_spec)
    if data.classes and data.classes != info.classes:
        raise StkdError(f"{data.name} has other classes than the model; give --data one with the same classes")
    data = _as_trained(data, info)
    with asking_for_plugin(run):
        found = open_teacher_of(config, data, device)
    if found is None and teacher is not None:
        found = open_model_for(teacher, data, device)
    return OpenRun(run, config, model.to(device), data, found, device)


def _as_trained(data: DataSet, info: ModelInfo) -> DataSet:
    """The data set with the normalisation and classes that the model was trained with."""
    return dataclasses.replace(data, mean=info.mean, std=info.std, classes=info.classes)


def predict_images(run: Path, images: Sequence[Path], *, top: int = 5) -> list[dict[str, Any]]:
    """The likeliest classes of images by a run's student, and by its teacher where the run has one.

    Args:
        run: Run directory, or a safetensors file written by stkd.
        images: Image files of any size and format.
        top: Number of classes, at most.

    Returns:
        For each image its path and, under "student" (a trained model alone: "model") and "teacher", a list of class and
        probability, likeliest first.

    Raises:
        StkdError: A file is missing or damaged.
    """
    from ..data.decode import decode_square
    from ..data.loader import affine

    if top < 1:
        raise StkdError(f"--top must be at least 1, got {top}")
    with asking_for_plugin(run):
        model, info = load_model(run)
        config = read_config(run) if run.is_dir() else None
        teacher = None if config is None else open_teacher_of(config, info, torch.device("cpu"))
    asked: dict[str, Callable[[Tensor], Tensor]] = {"student" if isinstance(config, DistillConfig) else "model": model}
    if teacher is not None:
        asked["teacher"] = teacher
    scale, shift = affine(info.mean, info.std, torch.device("cpu"))
    found: list[dict[str, Any]] = []
    for start in range(0, len(images), _CHUNK):
        paths = images[start : start + _CHUNK]
        pixels = torch.stack([decode_square(path, info.channels, info.size) for path in paths]).float()
        with torch.no_grad():
            answers = {who: ask(pixels * scale + shift).softmax(1) for who, ask in asked.items()}
        for i, path in enumerate(paths):
            found.append({"image": str(path), **{w: _top(p[i], info.classes, top) for w, p in answers.items()}})
    return found


def _top(probabilities: Tensor, classes: tuple[str, ...], top: int) -> list[dict[str, Any]]:
    values, places = probabilities.topk(min(top, len(classes)))
    return [{"class": classes[c], "probability": v} for v, c in zip(values.tolist(), places.tolist(), strict=True)]
