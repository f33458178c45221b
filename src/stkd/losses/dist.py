"""DIST: match how predictions rank classes and samples, not their exact values."""

from __future__ import annotations

import torch
from torch import Tensor

from .logits import soften

__all__ = ["dist"]


def dist(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    beta: float = 1.0,
    gamma: float = 1.0,
    temperature: float | Tensor = 1.0,
    standardize: bool = False,
) -> Tensor:
    """DIST, T^2 (beta inter + gamma intra), where each is one minus Pearson's r of the softened predictions.

    Inter correlates the classes within every sample, intra the samples within every class of the batch.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        beta: Weight of the inter-class part.
        gamma: Weight of the intra-class part.
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
        >>> round(dist(student, teacher).item(), 3)
        0.025

    Source: Huang et al., Knowledge Distillation from A Stronger Teacher, NeurIPS 2022 (L_inter, L_intra).
    """
    student, teacher = soften(student_logits, teacher_logits, temperature, standardize)
    p_s, p_t = student.softmax(1), teacher.softmax(1)
    inter = 1 - _pearson(p_s, p_t).mean()
    intra = 1 - _pearson(p_s.T, p_t.T).mean()
    return temperature**2 * (beta * inter + gamma * intra)


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    lengths: Tensor = torch.linalg.vector_norm(a, dim=1) * torch.linalg.vector_norm(b, dim=1)
    return (a * b).sum(1) / (lengths + 1e-8)
