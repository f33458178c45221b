"""NST: neuron selectivity transfer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .features import Features, pairs, same_size

__all__ = ["nst"]


def nst(student_features: Features, teacher_features: Features) -> Tensor:
    """Squared MMD between the channels' activation maps, kernel <a, b>^2 on maps of length 1, sum over the layers.

    Args:
        student_features: (B, C, H, W) or a list.
        teacher_features: Any channels; the larger map is average-pooled to the smaller.

    Returns:
        Scalar, mean over the batch.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.arange(16.0).view(2, 2, 2, 2) / 16  # (B, C, H, W)
        >>> teacher = student.square()
        >>> round(nst(student, teacher).item(), 3)
        0.039

    Source: Huang and Wang, Like What You Like: Knowledge Distill via Neuron Selectivity Transfer, arXiv 1707.01219
    (polynomial kernel).
    """
    layers = pairs(student_features, teacher_features, ndim=4)
    return torch.stack([_layer(*same_size(s, t)) for s, t in layers]).sum()


def _layer(student: Tensor, teacher: Tensor) -> Tensor:
    s, t = F.normalize(student.flatten(2), dim=2), F.normalize(teacher.flatten(2), dim=2)
    return _kernel(t, t) + _kernel(s, s) - 2 * _kernel(s, t)


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.transpose(1, 2)).square().mean()
