"""Whether a model is less confident on images of another data set (out of distribution).

Hendrycks & Gimpel, "A baseline for detecting misclassified and out-of-distribution examples", ICLR 2017.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import StkdError
from ..data.base import DataSet, ImageFiles, Split
from .predictions import logits_of

__all__ = ["foreign_logits", "ood_scores"]

_BINS = 20  # of confidence, from 0 to 1


def ood_scores(known: Tensor, foreign: Tensor) -> dict[str, Any]:
    """How well confidence, the probability of the most probable class, tells known images from foreign ones.

    Args:
        known: (N, C), logits of images of the model's own data.
        foreign: (M, C), logits of images of another data set.

    Returns:
        auroc (chance that a known image gets more confidence than a foreign one; 0.5 is a coin), mean_confidence of the
        known and foreign_confidence of the foreign images, and histogram and foreign_histogram: the share of images in
        each of 20 equal bins of confidence.
    """
    from torchmetrics.functional.classification import binary_auroc

    inside, outside = known.double().softmax(1).amax(1), foreign.double().softmax(1).amax(1)
    truth = torch.cat([torch.ones(len(inside)), torch.zeros(len(outside))]).long()
    return {
        "auroc": float(binary_auroc(torch.cat([inside, outside]), truth)),
        "mean_confidence": float(inside.mean()),
        "foreign_confidence": float(outside.mean()),
        "histogram": _shares(inside),
        "foreign_histogram": _shares(outside),
    }


def _shares(confidence: Tensor) -> list[float]:
    shares: list[float] = (torch.histc(confidence, _BINS, 0, 1) / len(confidence)).tolist()
    return shares


def foreign_logits(
    model: Callable[[Tensor], Tensor], foreign: DataSet, data: DataSet, *, device: torch.device, workers: int = 0
) -> Tensor:
    """Logits (M, C) of another data set's test images (or validation, or training images), brought to a model's input.

    Colours are averaged to grey or grey repeated, the size is interpolated, and pixels are normalised as the model's
    own data are.

    Args:
        model: From normalised images to logits.
        foreign: The other data set.
        data: The model's own, which says channels, size and normalisation.
        device: Of the model.
        workers: Processes that decode, for sets of files.

    Raises:
        StkdError: It is the model's own data set.
    """
    split = _test_or_other(foreign)
    if _same(split.images, _test_or_other(data).images):
        raise StkdError(f"{foreign.name} is the data that the model was made for; give another data set")
    plain = dataclasses.replace(foreign, mean=(0.0,) * foreign.channels, std=(1.0,) * foreign.channels)
    mean, std = (torch.tensor(v, device=device).view(1, -1, 1, 1) for v in (data.mean, data.std))

    def adapted(images: Tensor) -> Tensor:
        if foreign.channels != data.channels:
            images = images.mean(1, keepdim=True) if data.channels == 1 else images.expand(-1, 3, -1, -1)
        if foreign.size != data.size:
            images = F.interpolate(images, (data.size, data.size), mode="bilinear", antialias=True)
        return model((images - mean) / std)

    return logits_of(adapted, split, plain, device=device, workers=workers)[0]


def _test_or_other(data: DataSet) -> Split:
    return data.test or data.val or data.train


def _same(one: NDArray[np.uint8] | ImageFiles, other: NDArray[np.uint8] | ImageFiles) -> bool:
    if isinstance(one, ImageFiles) or isinstance(other, ImageFiles):
        return isinstance(one, ImageFiles) and isinstance(other, ImageFiles) and one == other
    return np.array_equal(one, other)
