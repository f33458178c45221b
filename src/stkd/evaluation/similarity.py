"""The similarity of classes as a model sees it, which is what distillation hands over.

A row of the similarity matrix is the mean softened prediction for images of one class. Its off-diagonal entries say
which classes the model finds similar; their correlation says how far two models find the same classes similar.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["TEMPERATURE", "class_similarity", "correlation", "most_similar_pairs", "similarity_correlation"]

TEMPERATURE = 4.0
"""The usual temperature of distillation; the same for all runs, so that their numbers can be compared."""


def class_similarity(logits: Tensor, labels: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Mean of softmax(logits / T) over the images of each true class.

    Args:
        logits: (N, C).
        labels: (N,).
        temperature: T.

    Returns:
        float64 (C, C), rows = true class, each summing to 1; NaN in the rows of classes without images.
    """
    classes = logits.shape[1]
    probabilities = (logits.double() / temperature).softmax(1)
    sums = torch.zeros(classes, classes, dtype=torch.float64).index_add_(0, labels, probabilities)
    return sums / labels.bincount(minlength=classes)[:, None]


def similarity_correlation(one: Tensor, other: Tensor) -> dict[str, float | None]:
    """Correlation of the off-diagonal entries of two models' similarity matrices.

    Args:
        one, other: (C, C), by `class_similarity`; rows that are NaN in either are left out.

    Returns:
        As `correlation`.
    """
    off = ~torch.eye(len(one), dtype=torch.bool)
    known = off & ~(one.isnan() | other.isnan())
    return correlation(one[known], other[known])


def correlation(one: Tensor, other: Tensor) -> dict[str, float | None]:
    """Pearson's and Spearman's correlation.

    Args:
        one, other: (N,), paired.

    Returns:
        "pearson" and "spearman", None where they do not exist: fewer than two entries, or all of one side equal.
    """
    from scipy import stats

    a, b = one.double().numpy(), other.double().numpy()
    if len(a) < 2 or a.min() == a.max() or b.min() == b.max():
        return {"pearson": None, "spearman": None}
    return {"pearson": float(stats.pearsonr(a, b).statistic), "spearman": float(stats.spearmanr(a, b).statistic)}


def most_similar_pairs(similarity: Tensor, count: int) -> list[tuple[int, int]]:
    """The pairs of classes that a model finds most similar, most similar first.

    Args:
        similarity: (C, C), by `class_similarity`.
        count: Number of pairs, at most.
    """
    both = (similarity + similarity.T).triu(1).nan_to_num(0)
    values, positions = both.flatten().topk(min(count, both.numel()))
    return [divmod(position, len(both)) for position in positions[values > 0].tolist()]
