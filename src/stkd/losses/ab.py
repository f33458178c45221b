"""AB: transfer of activation boundaries."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .features import Features, as_maps, pairs, same_channels, same_size

__all__ = ["ABConnector", "ab"]


def ab(student_features: Features, teacher_features: Features, *, margin: float = 1.0) -> Tensor:
    """Squared hinge that puts each pre-activation on the teacher's side of zero, by a margin.

    Sum over the entries, mean over the batch, times 3/1000; layer i of L weighs 2^(i - L), i = 1..L.

    Args:
        student_features: Pre-activations (B, D) or (B, C, H, W) or a list, from the connector.
        teacher_features: Pre-activations of the same channels; the larger map is average-pooled to the smaller.
        margin: Distance to the boundary that costs nothing.

    Returns:
        Scalar. At equality it is zero only where no pre-activation is within the margin.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.arange(16.0).view(2, 2, 2, 2) / 16  # (B, C, H, W)
        >>> teacher = student.square()
        >>> round(ab(student, teacher).item(), 3)
        0.009

    Source: Heo et al., Knowledge Transfer via Distillation of Activation Boundaries, AAAI 2019;
    the weights are the CRD benchmark's.
    """
    layers = pairs(student_features, teacher_features)
    weights = [2.0 ** (i - len(layers)) for i in range(1, len(layers) + 1)]
    terms = [w * _layer(s, t, margin) for w, (s, t) in zip(weights, layers, strict=True)]
    return torch.stack(terms).sum() * 3 / 1000


def _layer(student: Tensor, teacher: Tensor, margin: float) -> Tensor:
    same_channels(student, teacher)
    student, teacher = same_size(student, teacher)
    wrong_side = torch.where(teacher > 0, margin - student, margin + student)
    return wrong_side.relu().square().sum() / len(student)


class ABConnector(nn.Module):
    """1x1 convolution and batch norm from the student's channels to the teacher's.

    Args:
        student_channels: C of the student's features.
        teacher_channels: C of the teacher's.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(student_channels, teacher_channels, 1, bias=False)
        self.norm = nn.BatchNorm2d(teacher_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Student features (B, D) or (B, C, H, W) with the teacher's channels."""
        out: Tensor = self.norm(self.conv(as_maps(features)))
        return out.flatten(1) if features.ndim == 2 else out
