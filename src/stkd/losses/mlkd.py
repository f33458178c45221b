"""MLKD: multi-level logit distillation; its instance level is `kd` at several temperatures."""

from __future__ import annotations

from torch import Tensor

from .logits import at_least_float32, soften

__all__ = ["mlkd_batch", "mlkd_class", "mlkd_masks"]


def mlkd_batch(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float | Tensor = 4.0, mask: Tensor | None = None
) -> Tensor:
    """MLKD between samples, ||P_s P_s^T - P_t P_t^T||^2 / B with the softened predictions P (B, C).

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        temperature: T > 0; a tensor when it is learned.
        mask: bool (B,), samples whose similarities to all count; None counts all.

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
    return _masked_sum((p_s @ p_s.T - p_t @ p_t.T).square(), mask) / p_s.shape[0]


def mlkd_class(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float | Tensor = 4.0, mask: Tensor | None = None
) -> Tensor:
    """MLKD between classes, ||P_s^T P_s - P_t^T P_t||^2 / C with the softened predictions P (B, C).

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        temperature: T > 0; a tensor when it is learned.
        mask: bool (C,), classes whose similarities to all count; None counts all.

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
    return _masked_sum((p_s.T @ p_s - p_t.T @ p_t).square(), mask) / p_s.shape[1]


def mlkd_masks(teacher_logits: Tensor) -> tuple[Tensor, Tensor]:
    """The samples of which the teacher is least sure, and the classes to which it gives least: about half of each.

    Args:
        teacher_logits: (B, C).

    Returns:
        bool (B,), samples whose largest probability is at most the median; bool (C,), classes whose summed probability
        is at most the median.

    Example:
        >>> import torch
        >>> samples, classes = mlkd_masks(torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]]))
        >>> samples.tolist(), classes.tolist()
        ([False, True], [False, True, True])

    Source: Jin et al., Multi-Level Logit Distillation, CVPR 2023 (masks, as their code computes them).
    """
    p = at_least_float32(teacher_logits).softmax(1)
    return tuple(values <= values.quantile(0.5) for values in (p.amax(1), p.sum(0)))  # type: ignore[return-value]


def _masked_sum(squares: Tensor, mask: Tensor | None) -> Tensor:
    return squares.sum() if mask is None else (squares.sum(0) * mask).sum()
