"""RLD: refined logits, the teacher's confidence and its ranking below the true class."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .labels import soft_labels
from .logits import soften
from .stkd import kl_split

__all__ = ["rld"]


def rld(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    confidence_temperature: float = 1.0,
    standardize: bool = False,
) -> Tensor:
    """RLD, alpha tau^2 SC + beta T^2 MC, mean over the batch.

    SC is the KL of two cells: the teacher's largest class against all others, and the student's true class against all
    others, at tau. MC is the KL among the classes that the teacher puts below the true class, at T; 0 where there are
    none.

    Mixed labels: the k classes with a positive label make one cell, the teacher's k largest the other, and a class is
    below if it is below all k.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        labels: (B,) int64 or (B, C).
        alpha: Weight of SC.
        beta: Weight of MC.
        temperature: T > 0.
        confidence_temperature: tau > 0.
        standardize: Z-score each row of logits first.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # (B, C)
        >>> teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
        >>> round(rld(student, teacher, torch.tensor([0, 1])).item(), 3)
        0.545

    Source: Sun et al., Knowledge Distillation with Refined Logits, ICCV 2025. The form for mixed labels is ours.
    """
    student, teacher = soften(student_logits, teacher_logits, temperature, standardize)
    true = soft_labels(labels, student) > 0
    masked = teacher >= teacher.masked_fill(~true, float("inf")).amin(1, keepdim=True)
    _, below, _ = kl_split(student, teacher, masked)
    student, teacher = soften(student_logits, teacher_logits, confidence_temperature, standardize)
    ranks = teacher.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    confidence = _two_cells(student, true, teacher, ranks < true.sum(1, keepdim=True))
    return alpha * confidence_temperature**2 * confidence.mean() + beta * temperature**2 * below.mean()


def _two_cells(student: Tensor, true: Tensor, teacher: Tensor, largest: Tensor) -> Tensor:
    """KL (B,) of (a cell, all others) of the teacher and another cell of as many classes of the student."""
    everything = true.all(1, keepdim=True)

    def log_shares(logits: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        log_p = logits.log_softmax(1)
        inside = log_p.masked_fill(~cell, -float("inf")).logsumexp(1)
        outside = log_p.masked_fill(cell & ~everything, -float("inf")).logsumexp(1)
        return inside, outside

    s_in, s_out = log_shares(student, true)
    t_in, t_out = log_shares(teacher, largest)
    kl = F.kl_div(s_in, t_in, reduction="none", log_target=True)
    kl = kl + F.kl_div(s_out, t_out, reduction="none", log_target=True)
    return kl.masked_fill(everything.squeeze(1), 0.0)
