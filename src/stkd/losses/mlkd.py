"""MLKD: multi-level logit distillation; its instance level is `kd` at several temperatures."""

from __future__ import annotations

from torch import Tensor

from .logits import soften

__all__ = ["mlkd_batch", "mlkd_class"]


def mlkd_batch(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float | Tensor = 4.0) -> Tensor:
    """MLKD between samples, ||P_s P_s^T - P_t P_t^T||^2 / B with the softened predictions P (B, C).

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        temperature: T > 0; a tensor when it is learned.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # (B, C)
        >>> teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
        >>> round(mlkd_batch(student, teacher, temperature=1.0).item(), 3)
        0.047

    Source: Jin et al., Multi-Level Logit Distillation, CVPR 2023 (batch level).
    """
    student, teacher = soften(student_logits, teacher_logits, temperature)
    p_s, p_t = student.softmax(1), teacher.softmax(1)
    return (p_s @ p_s.T - p_t @ p_t.T).square().sum() / p_s.shape[0]


def mlkd_class(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float | Tensor = 4.0) -> Tensor:
    """MLKD between classes, ||P_s^T P_s - P_t^T P_t||^2 / C with the softened predictions P (B, C).

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        temperature: T > 0; a tensor when it is learned.

    Returns:
        Scalar. It grows with the square of the batch size, as published.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # (B, C)
        >>> teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
        >>> round(mlkd_class(student, teacher, temperature=1.0).item(), 3)
        0.032

    Source: Jin et al., Multi-Level Logit Distillation, CVPR 2023 (class level).
    """
    student, teacher = soften(student_logits, teacher_logits, temperature)
    p_s, p_t = student.softmax(1), teacher.softmax(1)
    return (p_s.T @ p_s - p_t.T @ p_t).square().sum() / p_s.shape[1]
