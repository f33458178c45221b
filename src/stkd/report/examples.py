"""Single images worth looking at: where student and teacher disagree, and how they see virtual samples."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data import DataSet, Split
from ..data.loader import affine
from ..mixing import Mix, draw, mix_images, mix_labels
from ..runs.directory import read_result
from ..runs.inspection import OpenRun
from .pictures import SMALL, data_uri, pixels_of

__all__ = ["Example", "disagreements", "virtual_examples"]

_COUNT = 12
_SEED = 0


@dataclass(frozen=True)
class Example:
    """An image, what it shows, and what both models see in it.

    Attributes:
        source: Data URI.
        small: Whether it has so few pixels that they should stay sharp.
        truth, student, teacher: In words, such as "cat (62%), dog (30%)".
    """

    source: str
    small: bool
    truth: str
    student: str
    teacher: str


def disagreements(logits: Tensor, taught: Tensor, split: Split, data: DataSet) -> list[Example]:
    """The images for which student and teacher give different answers and their probabilities differ most.

    Args:
        logits, taught: (N, C), the student's and the teacher's.
        split: The N images.
        data: That it belongs to.

    Returns:
        Largest difference first: the total variation distance, half the sum of all differences.
    """
    student, teacher = logits.softmax(1), taught.softmax(1)
    distance = (student - teacher).abs().sum(1) / 2
    distance[student.argmax(1) == teacher.argmax(1)] = 0
    order = distance.topk(min(_COUNT, len(distance)))
    positions = [p for p, d in zip(order.indices.tolist(), order.values.tolist(), strict=True) if d > 0]
    if not positions:
        return []
    pixels = pixels_of(split, data, positions)
    return [
        Example(
            data_uri(image),
            data.size <= SMALL,
            data.classes[int(split.labels[p])],
            _likeliest(student[p], data.classes),
            _likeliest(teacher[p], data.classes),
        )
        for image, p in zip(pixels, positions, strict=True)
    ]


@torch.no_grad()
def virtual_examples(run: OpenRun) -> list[Example]:
    """Virtual samples of test images, mixed as the run mixed (mixup of two where it did not), and both answers."""
    data, split = run.data, run.data.test
    assert split is not None
    assert run.teacher is not None
    result = read_result(run.path)
    mix = Mix(**result["mix"]) if result is not None else Mix()
    mix = mix if mix.active else Mix()
    mix = dataclasses.replace(mix, per_sample=True, real=0.0, beside=False)  # other weights for every example
    rng = np.random.default_rng(_SEED)
    positions = rng.choice(len(split), size=min(_COUNT, len(split)), replace=False).tolist()
    pixels = pixels_of(split, data, positions)
    labels = torch.from_numpy(split.labels[positions].copy())
    parts = draw(mix, len(positions), rng)
    mixed, lam = mix_images(pixels, parts)
    targets = mix_labels(labels, parts.index, lam, len(data.classes))
    scale, shift = affine(data.mean, data.std, run.device)
    images = mixed.to(run.device) * scale + shift
    student, teacher = (model(images).float().softmax(1).cpu() for model in (run.model, run.teacher))
    return [
        Example(
            data_uri(mixed[i]),
            data.size <= SMALL,
            *(_likeliest(p[i], data.classes) for p in (targets, student, teacher)),
        )
        for i in range(len(mixed))
    ]


def _likeliest(probabilities: Tensor, classes: tuple[str, ...], most: int = 3, least: float = 0.05) -> str:
    """The likeliest classes in words; the first always."""
    values, places = probabilities.topk(min(most, len(classes)))
    said = [f"{classes[c]}\u00a0({v:.0%})" for v, c in zip(values.tolist(), places.tolist(), strict=True)]
    return ", ".join(text for i, text in enumerate(said) if i == 0 or values[i] >= least)
