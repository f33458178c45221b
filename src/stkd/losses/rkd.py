"""RKD: relational knowledge distillation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .features import Features, pairs

__all__ = ["rkd"]


def rkd(
    student_features: Features,
    teacher_features: Features,
    *,
    distance_weight: float = 25.0,
    angle_weight: float = 50.0,
) -> Tensor:
    """Smooth L1 of the distances within pairs and of the angles within triplets, sum over the layers.

    Distances are in units of their mean over the batch. The angles take B^3 + B^2 D numbers.

    Args:
        student_features: (B, D) or (B, C, H, W), flattened, or a list.
        teacher_features: Any channels and sizes.
        distance_weight: Weight of RKD-D.
        angle_weight: Weight of RKD-A.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # (B, D)
        >>> teacher = torch.tensor([[2.0, 0.0], [1.0, 1.0], [1.0, 3.0]])
        >>> round(rkd(student, teacher).item(), 3)
        6.996

    Source: Park et al., Relational Knowledge Distillation, CVPR 2019, sections 3.2.1 and 3.2.2.
    """

    def layer(student: Tensor, teacher: Tensor) -> Tensor:
        distance = F.smooth_l1_loss(_distances(student), _distances(teacher))
        angle = F.smooth_l1_loss(_angles(student), _angles(teacher))
        return distance_weight * distance + angle_weight * angle

    return torch.stack([layer(s.flatten(1), t.flatten(1)) for s, t in pairs(student_features, teacher_features)]).sum()


def _distances(x: Tensor) -> Tensor:
    squares = x.square().sum(1)
    squared = squares[:, None] + squares[None, :] - 2 * (x @ x.T)
    # The clamp keeps the square root's gradient finite for equal samples.
    distances = squared.clamp(min=1e-12).sqrt() * (1 - torch.eye(len(x), dtype=x.dtype, device=x.device))
    mean = distances.sum() / max(len(x) * (len(x) - 1), 1)
    return distances / mean.clamp(min=1e-12)


def _angles(x: Tensor) -> Tensor:
    """Cosines (B, B, B): at sample i, between the directions to j and to k."""
    directions = F.normalize(x[None, :] - x[:, None], dim=2)
    return directions @ directions.transpose(1, 2)
