"""STKD's inter-instance term: similarities between the predictions of a batch of virtual samples."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .logits import soften

__all__ = ["inter_instance"]


def inter_instance(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float | Tensor = 4.0, standardize: bool = False
) -> Tensor:
    """Squared distance of the rows of two B x B similarities, mean over the rows.

    The similarity is the Gram matrix of the softened predictions, each less the uniform one, with rows of length 1.
    Without the uniform part, which all predictions share, the value does not fade as T grows, so no T^2 is needed.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        temperature: T > 0; a tensor when it is learned.
        standardize: Z-score each row of logits first.

    Returns:
        Scalar in [0, 4].

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # (B, C)
        >>> teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
        >>> round(inter_instance(student, teacher, temperature=1.0).item(), 3)
        0.112

    Source: ours; the form follows Tung and Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019.
    """
    student, teacher = soften(student_logits, teacher_logits, temperature, standardize)
    difference = _similarity(student) - _similarity(teacher)
    return difference.square().sum(1).mean()


def _similarity(softened: Tensor) -> Tensor:
    p = softened.softmax(1) - 1 / softened.shape[1]
    return F.normalize(p @ p.T, dim=1)
