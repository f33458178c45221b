"""FSP: flow of the solution procedure, the Gram matrices between layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.errors import StkdError
from .features import pairs, same_channels, same_size

__all__ = ["fsp"]


def fsp(student_features: Sequence[Tensor], teacher_features: Sequence[Tensor]) -> Tensor:
    """Mean squared difference of the FSP matrices, sum over the pairs of consecutive layers.

    The FSP matrix of two layers is mean over positions of f_c g_d, (B, C, D), at the smaller size of the two.

    Args:
        student_features: At least two (B, C, H, W).
        teacher_features: As many, with the same channels; sizes may differ.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit or there is one layer only.

    Example:
        >>> import torch
        >>> student = [torch.arange(8.0).view(1, 2, 2, 2) / 8, torch.ones(1, 3, 2, 2)]  # two stages (B, C, H, W)
        >>> teacher = [student[0].square(), student[1]]
        >>> round(fsp(student, teacher).item(), 3)
        0.028

    Source: Yim et al., A Gift from Knowledge Distillation, CVPR 2017; the mean over the entries is the CRD benchmark's.
    """
    layers = pairs(student_features, teacher_features, ndim=4)
    if len(layers) < 2:
        raise StkdError("fsp compares the flow between layers; give two layers or more")
    for s, t in layers:
        same_channels(s, t)
    students, teachers = zip(*layers, strict=True)
    flows = zip(pairwise(students), pairwise(teachers), strict=True)
    return torch.stack([F.mse_loss(_flow(*s), _flow(*t)) for s, t in flows]).sum()


def _flow(lower: Tensor, upper: Tensor) -> Tensor:
    lower, upper = same_size(lower, upper)
    return lower.flatten(2) @ upper.flatten(2).transpose(1, 2) / lower[0, 0].numel()
