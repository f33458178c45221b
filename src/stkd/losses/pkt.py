"""PKT: probabilistic knowledge transfer."""

from __future__ import annotations

import torch
from torch import Tensor

from .features import Features, pairs

__all__ = ["pkt"]

EPS = 1e-7


def pkt(student_features: Features, teacher_features: Features) -> Tensor:
    """KL of the neighbour probabilities, p_t log(p_t / p_s), mean over the B x B entries, sum over the layers.

    The probabilities are cosine similarities, moved to [0, 1] and normalized in each row.

    Args:
        student_features: (B, D) or (B, C, H, W), flattened, or a list.
        teacher_features: Any channels and sizes.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # (B, D)
        >>> teacher = torch.tensor([[2.0, 0.0], [1.0, 1.0], [1.0, 3.0]])
        >>> round(pkt(student, teacher).item(), 3)
        0.009

    Source: Passalis and Tefas, Learning Deep Representations with Probabilistic Knowledge Transfer, ECCV 2018.
    """
    return torch.stack([_layer(s, t) for s, t in pairs(student_features, teacher_features)]).sum()


def _layer(student: Tensor, teacher: Tensor) -> Tensor:
    p_s, p_t = _neighbours(student), _neighbours(teacher)
    return (p_t * ((p_t + EPS) / (p_s + EPS)).log()).mean()


def _neighbours(features: Tensor) -> Tensor:
    flat = features.flatten(1)
    unit: Tensor = flat / (torch.linalg.vector_norm(flat, dim=1, keepdim=True) + EPS)
    similarity = (unit @ unit.T + 1) / 2
    return similarity / similarity.sum(1, keepdim=True)
