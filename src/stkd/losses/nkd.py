"""NKD: normalized knowledge distillation."""

from __future__ import annotations

from torch import Tensor

from .labels import soft_labels
from .logits import check_temperature, soften

__all__ = ["nkd"]


def nkd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    gamma: float = 1.5,
    temperature: float | Tensor = 1.0,
    standardize: bool = False,
) -> Tensor:
    """NKD, -p_t log p_s of the target at T = 1, less gamma T^2 sum q_t log q_s over the rest normalized to 1.

    Mixed labels: every class with a positive label is a target and adds its p_t log p_s, the rest is what remains;
    the size of its label plays no part. Where every class is a target, the second part is 0.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        labels: (B,) int64 or (B, C).
        gamma: Weight of the part among the other classes.
        temperature: T > 0 of the second part; a tensor when it is learned.
        standardize: Z-score each row of logits first.

    Returns:
        Scalar, mean over the batch. It is a cross entropy: at equality not zero.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # (B, C)
        >>> teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
        >>> labels = torch.tensor([0, 1])
        >>> round(nkd(student, teacher, labels).item(), 3)
        1.312

    Source: Yang et al., From Knowledge Distillation to Self-Knowledge Distillation, ICCV 2023 (L_NKD).
    """
    student, teacher = soften(student_logits, teacher_logits, 1.0, standardize)
    target = soft_labels(labels, student) > 0
    on_target = (teacher.softmax(1) * student.log_softmax(1)).masked_fill(~target, 0.0).sum(1)

    # A row without rest stays unmasked, since a softmax over nothing would give NaN; its sum is 0 all the same.
    hidden = target & ~target.all(1, keepdim=True)
    check_temperature(temperature)
    log_q_s = (student / temperature).masked_fill(hidden, -float("inf")).log_softmax(1).masked_fill(target, 0.0)
    q_t = (teacher / temperature).masked_fill(hidden, -float("inf")).softmax(1)
    among_rest = (q_t * log_q_s).sum(1)
    return -(on_target + gamma * temperature**2 * among_rest).mean()
