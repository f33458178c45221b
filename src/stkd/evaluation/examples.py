"""Single images: those that student and teacher see most differently, and virtual samples with both predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.base import DataSet, Split
from ..data.loader import affine
from ..mixing import Mix, draw, mix_images, mix_labels
from .thumbnails import data_uri, read_pixels

__all__ = ["disagreements", "virtual_examples"]

_COUNT = 12  # examples of each kind
_TOP = 3  # classes of a prediction that are kept
_LEAST = 0.05  # probability from which on the second and third are kept
_SEED = 0

Model = Callable[[Tensor], Tensor]


def disagreements(logits: Tensor, teacher_logits: Tensor, split: Split, data: DataSet) -> list[dict[str, Any]]:
    """The images to which student and teacher give different answers with the most different probabilities.

    Args:
        logits, teacher_logits: (N, C).
        split: The N labelled images.
        data: The data set that the split belongs to.

    Returns:
        At most 12, by falling total variation distance (half the sum of the absolute differences). Each has "picture"
        (a data URI) and, as lists of (label, probability), "truth", "student" and "teacher".
    """
    student, teacher = logits.softmax(1), teacher_logits.softmax(1)
    distance = (student - teacher).abs().sum(1) / 2
    distance[student.argmax(1) == teacher.argmax(1)] = 0
    largest = distance.topk(min(_COUNT, len(distance)))
    positions = largest.indices[largest.values > 0].tolist()
    if not positions:
        return []
    truth = F.one_hot(torch.from_numpy(split.labels[positions].copy()), logits.shape[1]).float()
    return _examples(read_pixels(split, data, positions), truth, student[positions], teacher[positions])


@torch.no_grad()
def virtual_examples(
    student: Model, teacher: Model, split: Split, data: DataSet, mix: Mix, *, device: torch.device
) -> list[dict[str, Any]]:
    """Virtual samples of images drawn at random, and what student and teacher see in them.

    Args:
        student, teacher: From normalised images to logits (B, C).
        split: Labelled images to mix.
        data: The data set that the split belongs to.
        mix: How to mix them; each sample gets its own weights. Where it mixes nothing, two images are interpolated.
        device: Of the models.

    Returns:
        As of `disagreements`; "truth" is the mixed label.
    """
    mix = mix if mix.active else Mix()
    mix = dataclasses.replace(mix, per_sample=True, real=0.0, beside=False, strong=False)
    rng = np.random.default_rng(_SEED)
    positions = rng.choice(len(split), size=min(_COUNT, len(split)), replace=False).tolist()
    labels = torch.from_numpy(split.labels[positions].copy())
    parts = draw(mix, len(positions), rng)
    mixed, weights = mix_images(read_pixels(split, data, positions), parts)
    scale, shift = affine(data.mean, data.std, device)
    images = mixed.to(device) * scale + shift
    probabilities = (model(images).float().softmax(1).cpu() for model in (student, teacher))
    return _examples(mixed, mix_labels(labels, parts.index, weights, len(data.classes)), *probabilities)


def _examples(pixels: Tensor, truth: Tensor, student: Tensor, teacher: Tensor) -> list[dict[str, Any]]:
    return [
        {"picture": data_uri(image), "truth": _top(t), "student": _top(s), "teacher": _top(own)}
        for image, t, s, own in zip(pixels, truth, student, teacher, strict=True)
    ]


def _top(probabilities: Tensor) -> list[tuple[int, float]]:
    """The most probable classes, most probable first: the first one always, others from 5 % on."""
    values, labels = probabilities.topk(min(_TOP, len(probabilities)))
    pairs = zip(labels.tolist(), values.tolist(), strict=True)
    return [(label, value) for i, (label, value) in enumerate(pairs) if i == 0 or value >= _LEAST]
