"""Decoupled knowledge distillation."""

from __future__ import annotations

from torch import Tensor

from .stkd import stkd

__all__ = ["dkd"]


def dkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float | Tensor = 4.0,
    standardize: bool = False,
) -> Tensor:
    """DKD, T^2 (alpha TCKD + beta NCKD), mean over the batch.

    TCKD is the KL of (target, rest), NCKD the KL among the rest; it is decoupled STKD with one instance.
    Mixed labels: decoupled STKD, where each class with a positive label is a cell of its own.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        labels: (B,) int64 or (B, C).
        alpha: Weight of the target part.
        beta: Weight of the part among the other classes.
        temperature: T > 0; a tensor when it is learned.
        standardize: Z-score each row of logits first.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # (B, C)
        >>> teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
        >>> labels = torch.tensor([0, 1])
        >>> round(dkd(student, teacher, labels).item(), 3)
        0.571

    Source: Zhao et al., Decoupled Knowledge Distillation, CVPR 2022, equation 7.
    """
    return stkd(
        student_logits,
        teacher_logits,
        labels,
        temperature=temperature,
        beta=beta,
        target_weight=alpha,
        standardize=standardize,
    )
