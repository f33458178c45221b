"""Hinton's knowledge distillation."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .logits import soften

__all__ = ["kd"]


def kd(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float | Tensor = 4.0, standardize: bool = False
) -> Tensor:
    """KD, T^2 KL(softmax(z_t / T) || softmax(z_s / T)), sum over classes, mean over the batch.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
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
        >>> round(kd(student, teacher).item(), 3)
        0.111

    Source: Hinton et al., Distilling the Knowledge in a Neural Network, arXiv 1503.02531, section 2.
    """
    student, teacher = soften(student_logits, teacher_logits, temperature, standardize)
    kl = F.kl_div(student.log_softmax(1), teacher.log_softmax(1), reduction="batchmean", log_target=True)
    return temperature**2 * kl
