"""How similar student and teacher find the classes, on real images and on virtual samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.base import DataSet, Split
from ..data.loader import eval_batches
from ..data.splits import take
from .predictions import eval_batch_size
from .similarity import TEMPERATURE, class_similarity, most_similar_pairs, similarity_correlation
from .virtual import along_lambda, draw_pairs

__all__ = ["similarity_to_teacher", "virtual_transfer"]

_PAIRS = 3  # of classes whose mean distributions are kept


def similarity_to_teacher(logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> dict[str, Any]:
    """Class similarity of a model and of its teacher, and their correlation.

    Args:
        logits, teacher_logits: (N, C).
        labels: (N,).

    Returns:
        temperature, model and teacher (matrices (C, C), see `class_similarity`), pearson and spearman.
    """
    own, teacher = class_similarity(logits, labels), class_similarity(teacher_logits, labels)
    return {"temperature": TEMPERATURE, "model": own, "teacher": teacher, **similarity_correlation(own, teacher)}


def virtual_transfer(
    student: Callable[[Tensor], Tensor],
    teacher: Callable[[Tensor], Tensor],
    split: Split,
    data: DataSet,
    teacher_similarity: Tensor,
    *,
    device: torch.device,
    workers: int = 0,
    seed: int = 0,
) -> dict[str, Any]:
    """Teacher and student on the same virtual samples of two images of different classes, along lambda.

    Args:
        student, teacher: From normalised images to logits (B, C).
        split: Labelled images to mix.
        data: What the split belongs to.
        teacher_similarity: (C, C), whose most similar pairs of classes are looked at.
        device: Of the models.
        workers: Processes that decode, for sets of files.
        seed: Of the draw of pairs.

    Returns:
        lambdas, samples (number of pairs of images), and for each lambda kl (teacher || student), agreement, pearson
        and spearman (of the probabilities of classes that are in neither image); pairs holds, for the pairs of
        classes that the teacher finds most similar, the mean distributions of both models (L, C).
    """
    labels = torch.from_numpy(np.array(split.labels))

    def images(pairs: Tensor) -> tuple[Tensor, Tensor]:
        flat = take(split, pairs.flatten().numpy())
        batches = eval_batches(flat, data, batch_size=eval_batch_size(data), device=device, workers=workers)
        both = torch.cat([batch for batch, _ in batches])
        return both[0::2], both[1::2]

    count, each = (256, 16) if data.size <= 64 else (64, 8)
    pairs = draw_pairs(labels, count, seed)
    answers = along_lambda(teacher, student, *images(pairs), batch_size=64)
    similar = most_similar_pairs(teacher_similarity, _PAIRS)
    correlations = answers.correlation(labels[pairs])
    return {
        "lambdas": list(answers.lambdas),
        "samples": len(pairs),
        "temperature": TEMPERATURE,
        "kl": list(answers.kl),
        "agreement": list(answers.agreement),
        "pearson": [c["pearson"] for c in correlations],
        "spearman": [c["spearman"] for c in correlations],
        "pairs": [_pair(labels, pair, each, teacher, student, images) for pair in similar],
    }


def _pair(
    labels: Tensor,
    classes: tuple[int, int],
    most: int,
    teacher: Callable[[Tensor], Tensor],
    student: Callable[[Tensor], Tensor],
    images: Callable[[Tensor], tuple[Tensor, Tensor]],
) -> dict[str, Any]:
    one, other = ((labels == label).nonzero()[:most, 0] for label in classes)
    count = min(len(one), len(other))
    answers = along_lambda(teacher, student, *images(torch.stack([one[:count], other[:count]], dim=1)))
    of_teacher, of_student = answers.mean_distributions(torch.arange(count))
    return {"classes": list(classes), "samples": count, "teacher": of_teacher, "student": of_student}
