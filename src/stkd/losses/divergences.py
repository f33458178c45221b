"""Other divergences of two predictions: Jensen-Shannon, reverse KL, squared error and cosine of the logits."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .logits import soften

__all__ = ["cosine", "js", "mse", "reverse_kl"]


def reverse_kl(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float | Tensor = 4.0, standardize: bool = False
) -> Tensor:
    """Reverse KL, T^2 KL(softmax(z_s / T) || softmax(z_t / T)), sum over classes, mean over the batch.

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
        >>> round(reverse_kl(student, teacher).item(), 3)
        0.113

    Source: Gu et al., MiniLLM, ICLR 2024 (there for sequences).
    """
    student, teacher = soften(student_logits, teacher_logits, temperature, standardize)
    kl = F.kl_div(teacher.log_softmax(1), student.log_softmax(1), reduction="batchmean", log_target=True)
    return temperature**2 * kl


def js(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float | Tensor = 4.0, standardize: bool = False
) -> Tensor:
    """Jensen-Shannon divergence, T^2 (KL(p_t || m) + KL(p_s || m)) / 2 with m = (p_s + p_t) / 2, mean over the batch.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        temperature: T > 0; a tensor when it is learned.
        standardize: Z-score each row of logits first.

    Returns:
        Scalar, at most T^2 log 2.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # (B, C)
        >>> teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
        >>> round(js(student, teacher).item(), 3)
        0.028

    Source: Lin, Divergence Measures Based on the Shannon Entropy, IEEE Trans. Inf. Theory 37, 1991.
    """
    student, teacher = soften(student_logits, teacher_logits, temperature, standardize)
    log_s, log_t = student.log_softmax(1), teacher.log_softmax(1)
    log_m = torch.logaddexp(log_s, log_t) - math.log(2)
    kl_s = F.kl_div(log_m, log_s, reduction="batchmean", log_target=True)
    kl_t = F.kl_div(log_m, log_t, reduction="batchmean", log_target=True)
    return temperature**2 * (kl_s + kl_t) / 2


def mse(student_logits: Tensor, teacher_logits: Tensor, *, standardize: bool = False) -> Tensor:
    """Squared error of the logits, ||z_s - z_t||^2, sum over classes, mean over the batch.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        standardize: Z-score each row of logits first.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # (B, C)
        >>> teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
        >>> round(mse(student, teacher).item(), 3)
        1.5

    Source: Kim et al., Comparing Kullback-Leibler Divergence and Mean Squared Error Loss in Knowledge Distillation,
    IJCAI 2021.
    """
    student, teacher = soften(student_logits, teacher_logits, standardize=standardize)
    return (student - teacher).square().sum(1).mean()


def cosine(student_logits: Tensor, teacher_logits: Tensor, *, standardize: bool = False) -> Tensor:
    """Cosine distance of the logits, 1 - cos(z_s, z_t), mean over the batch; one minus Pearson's r if standardized.

    Args:
        student_logits: (B, C).
        teacher_logits: (B, C).
        standardize: Z-score each row of logits first.

    Returns:
        Scalar in [0, 2].

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])  # (B, C)
        >>> teacher = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
        >>> round(cosine(student, teacher).item(), 3)
        0.058
    """
    student, teacher = soften(student_logits, teacher_logits, standardize=standardize)
    return (1 - F.cosine_similarity(student, teacher, dim=1)).mean()
