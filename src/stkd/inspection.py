"""Looking at a finished run: scoring it on its data, and asking it about single images."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from .config import DistillConfig, TrainConfig, build
from .data import DataSet, open_data
from .errors import StkdError
from .evaluation import evaluate
from .options import checked
from .saved import Card, load_model
from .teacher import Teacher, teacher_of

__all__ = ["evaluate_run", "predict_images", "read_config"]

_CHUNK = 64  # images decoded and shown to the models at once


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


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _open_data(config: TrainConfig | DistillConfig, spec: str | None) -> DataSet:
    return open_data(
        spec or config.data,
        labels=config.labels,
        image_size=config.image_size,
        val_fraction=0.0 if spec else config.val_fraction,
        train_images=None if spec else config.train_images,
        split_seed=config.split_seed,
    )


def _teacher_of(config: TrainConfig | DistillConfig, data: DataSet | Card, device: torch.device) -> Teacher | None:
    if not isinstance(config, DistillConfig) or not (config.teacher_weights or config.teacher_pretrained):
        return None
    gone = [str(p) for p in (config.teacher_weights, *(config.more_teachers or ())) if p is not None and not p.exists()]
    if gone:
        warnings.warn(
            f"the teacher's weights {gone[0]} are gone; without them there is the student alone", stacklevel=2
        )
        return None
    return teacher_of(config, data).to(device)


def evaluate_run(run: Path, *, split: str = "test", data_spec: str | None = None) -> dict[str, Any]:
    """Score a run's model, and its agreement with the teacher if it had one.

    Args:
        run: Run directory.
        split: "test", "val" or "train".
        data_spec: Another data set with the same classes, instead of the run's own.

    Raises:
        StkdError: The run, its weights, the data or the teacher cannot be read.
    """
    if split not in ("train", "val", "test"):
        raise StkdError(f"unknown split {split!r}; choose train, val or test")
    if not run.is_dir():
        raise StkdError(f"{run} is not a run directory; give one that 'stkd train' or 'stkd distill' wrote")
    config = read_config(run)
    device = _device()
    model, card = load_model(run)
    data = _open_data(config, data_spec)
    if data.classes and data.classes != card.classes:
        raise StkdError(f"{data.name} has other classes than the model; give --data one with the same classes")
    data = _as_trained(data, card)
    teacher = _teacher_of(config, data, device)
    ask = teacher.logits if teacher is not None else None
    return evaluate(model.to(device), data, split=split, teacher=ask, workers=config.workers)


def _as_trained(data: DataSet, card: Card) -> DataSet:
    """The data set with the normalisation and classes that the model was trained with."""
    return dataclasses.replace(data, mean=card.mean, std=card.std, classes=card.classes)


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
    from .data.decode import decode, resize_square
    from .data.loader import affine

    if top < 1:
        raise StkdError(f"--top must be at least 1, got {top}")
    model, card = load_model(run)
    config = read_config(run) if run.is_dir() else None
    asked: dict[str, Callable[[Tensor], Tensor]] = {"student" if isinstance(config, DistillConfig) else "model": model}
    if config is not None and (teacher := _teacher_of(config, card, torch.device("cpu"))) is not None:
        asked["teacher"] = teacher.logits
    scale, shift = affine(card.mean, card.std, torch.device("cpu"))
    found: list[dict[str, Any]] = []
    for start in range(0, len(images), _CHUNK):
        paths = images[start : start + _CHUNK]
        pixels = torch.stack([resize_square(decode(path, card.channels), card.size) for path in paths]).float()
        with torch.no_grad():
            answers = {who: ask(pixels * scale + shift).softmax(1) for who, ask in asked.items()}
        for i, path in enumerate(paths):
            found.append({"image": str(path), **{w: _top(p[i], card.classes, top) for w, p in answers.items()}})
    return found


def _top(probabilities: Tensor, classes: tuple[str, ...], top: int) -> list[dict[str, Any]]:
    values, places = probabilities.topk(min(top, len(classes)))
    return [{"class": classes[c], "probability": v} for v, c in zip(values.tolist(), places.tolist(), strict=True)]
