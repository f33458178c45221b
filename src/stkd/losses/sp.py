"""SP: similarity-preserving distillation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .features import Features, pairs

__all__ = ["sp"]


def sp(student_features: Features, teacher_features: Features) -> Tensor:
    """Squared distance of the B x B Gram matrices with rows of length 1, over B^2, sum over the layers.

    Args:
        student_features: (B, D) or (B, C, H, W) or a list.
        teacher_features: Any channels and sizes.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # (B, D)
        >>> teacher = torch.tensor([[2.0, 0.0], [1.0, 1.0], [1.0, 3.0]])
        >>> round(sp(student, teacher).item(), 3)
        0.066

    Source: Tung and Mori, Similarity-Preserving Knowledge Distillation, ICCV 2019, section 3.
    """
    layers = pairs(student_features, teacher_features)
    return torch.stack([F.mse_loss(_similarity(s), _similarity(t)) for s, t in layers]).sum()


def _similarity(features: Tensor) -> Tensor:
    flat = features.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)
