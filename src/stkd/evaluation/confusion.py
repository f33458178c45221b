"""Which classes are mistaken for which, and the accuracy of each class."""

from __future__ import annotations

from functools import cache

from torch import Tensor

__all__ = [
    "class_accuracy",
    "class_change",
    "class_intervals",
    "confusion_matrix",
    "most_mistaken",
    "share_interval",
]


def confusion_matrix(logits: Tensor, labels: Tensor) -> Tensor:
    """Counts int64 (C, C): entry (i, j) is how many images of class i were taken for class j.

    Args:
        logits: (N, C).
        labels: (N,).
    """
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    counts: Tensor = multiclass_confusion_matrix(logits.argmax(1), labels, logits.shape[1])
    return counts


def class_accuracy(confusion: Tensor) -> Tensor:
    """Accuracy of each class, float64 (C,), the diagonal of a confusion matrix by its row sums; NaN without images.

    Args:
        confusion: (C, C), counts.
    """
    return confusion.diagonal().double() / confusion.sum(1).double()


def class_intervals(confusion: Tensor) -> list[tuple[float, float] | None]:
    """Interval of the accuracy of each class, see `share_interval`; None without images.

    Args:
        confusion: (C, C), counts.
    """
    pairs = zip(confusion.diagonal().tolist(), confusion.sum(1).tolist(), strict=True)
    return [share_interval(int(right), int(images)) if images else None for right, images in pairs]


@cache
def share_interval(count: int, total: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, which holds for few images and at 0 and 1 too.

    Args:
        count: Images of that kind.
        total: All images, at least 1.
    """
    from scipy.stats import binomtest

    interval = binomtest(count, total).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


def class_change(confusion: Tensor, before: Tensor) -> Tensor:
    """Accuracy of each class minus what it was before, float64 (C,); NaN without images.

    Args:
        confusion: (C, C), counts, of the student.
        before: (C, C), counts, of the model to compare with, such as the student trained alone.
    """
    return class_accuracy(confusion) - class_accuracy(before)


def most_mistaken(confusion: Tensor, count: int = 3) -> list[list[tuple[int, int]]]:
    """For each class the classes that its images were most often taken for, and how often.

    Args:
        confusion: (C, C), counts.
        count: Of classes for each, at most; those that it was never taken for are left out.
    """
    wrong = confusion.clone().fill_diagonal_(0)
    often, labels = wrong.topk(min(count, len(wrong)))
    return [
        [(label, times) for label, times in zip(row, counts, strict=True) if times]
        for row, counts in zip(labels.tolist(), often.tolist(), strict=True)
    ]
