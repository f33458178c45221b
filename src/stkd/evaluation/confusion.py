"""Which classes are mistaken for which, and the accuracy of each class."""

from __future__ import annotations

from torch import Tensor

__all__ = ["class_accuracy", "class_change", "confusion_matrix"]


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


def class_change(confusion: Tensor, before: Tensor) -> Tensor:
    """Accuracy of each class minus what it was before, float64 (C,); NaN without images.

    Args:
        confusion: (C, C), counts, of the student.
        before: (C, C), counts, of the model to compare with, such as the student trained alone.
    """
    return class_accuracy(confusion) - class_accuracy(before)
