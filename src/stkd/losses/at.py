"""AT: attention transfer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .features import Features, pairs, same_size

__all__ = ["at"]


def at(student_features: Features, teacher_features: Features, *, p: int = 2) -> Tensor:
    """Attention transfer, mean squared difference of the maps mean_c |f_c|^p with length 1, sum over the layers.

    Args:
        student_features: (B, C, H, W) or a list.
        teacher_features: Any channels; the larger map is average-pooled to the smaller.
        p: Power of an activation in the attention.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.arange(16.0).view(2, 2, 2, 2) / 16  # (B, C, H, W)
        >>> teacher = student.square()
        >>> round(at(student, teacher).item(), 3)
        0.008

    Source: Zagoruyko and Komodakis, Paying More Attention to Attention, ICLR 2017, section 3.1;
    the mean over positions is the CRD benchmark's.
    """
    layers = pairs(student_features, teacher_features, ndim=4)
    return torch.stack([_layer(*same_size(s, t), p) for s, t in layers]).sum()


def _layer(student: Tensor, teacher: Tensor, p: int) -> Tensor:
    return F.mse_loss(_attention(student, p), _attention(teacher, p))


def _attention(features: Tensor, p: int) -> Tensor:
    return F.normalize(features.abs().pow(p).mean(1).flatten(1), dim=1)
