"""The likeliest classes of single images, by a run's student and its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.errors import StkdError
from ..data.decode import decode_square
from ..data.loader import affine
from .finished_run import open_run

__all__ = ["predict_images"]

_CHUNK = 64  # images decoded and shown to the models at once


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
    if top < 1:
        raise StkdError(f"--top must be at least 1, got {top}")
    opened = open_run(run)
    info, models = opened.info, {opened.role: opened.model}
    if opened.teacher is not None:
        models["teacher"] = opened.teacher
    scale, shift = affine(info.mean, info.std, opened.device)
    view = (info.channels, info.size, info.crop_pct, info.interpolation)
    rows: list[dict[str, Any]] = []
    for start in range(0, len(images), _CHUNK):
        paths = images[start : start + _CHUNK]
        pixels = torch.stack([decode_square(path, *view) for path in paths]).float()
        with torch.no_grad():
            answers = {role: model(pixels * scale + shift).softmax(1) for role, model in models.items()}
        for i, path in enumerate(paths):
            rows.append({"image": str(path), **{role: _top(p[i], info.classes, top) for role, p in answers.items()}})
    return rows


def _top(probabilities: Tensor, classes: tuple[str, ...], top: int) -> list[dict[str, Any]]:
    values, places = probabilities.topk(min(top, len(classes)))
    return [{"class": classes[c], "probability": v} for v, c in zip(values.tolist(), places.tolist(), strict=True)]
