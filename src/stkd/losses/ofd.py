"""OFD: a comprehensive overhaul of feature distillation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..core.errors import StkdError
from .features import Features, as_maps, pairs, same_channels, same_size

__all__ = ["OFDConnector", "ofd", "ofd_margin"]


def ofd(student_features: Features, teacher_features: Features, *, margin: Tensor | Sequence[Tensor]) -> Tensor:
    """Partial squared error towards max(f_t, margin), none where both student and that are below zero and s <= t.

    Sum over the entries, mean over the batch; layer i of L weighs 2^(i - L), i = 1..L.

    Args:
        student_features: (B, C, H, W) or a list, from the connector.
        teacher_features: Before the ReLU, the same channels; the larger map is average-pooled to the smaller.
        margin: (1, C, 1, 1) for each layer, below zero (`ofd_margin`).

    Returns:
        Scalar. Published weight: 1/1000.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.arange(16.0).view(2, 2, 2, 2) / 16  # (B, C, H, W)
        >>> teacher = student.square()
        >>> margin = torch.tensor([-0.5, -0.5])  # (C,)
        >>> round(ofd(student, teacher, margin=margin).item(), 3)
        0.267

    Source: Heo et al., A Comprehensive Overhaul of Feature Distillation, ICCV 2019, section 3.
    """
    layers = pairs(student_features, teacher_features, ndim=4)
    margins = [margin] if isinstance(margin, Tensor) else margin
    if len(margins) != len(layers):
        raise StkdError(f"{len(layers)} layers and {len(margins)} margins; give one margin for each layer")
    weights = [2.0 ** (i - len(layers)) for i in range(1, len(layers) + 1)]
    terms = [w * _layer(s, t, m) for w, (s, t), m in zip(weights, layers, margins, strict=True)]
    return torch.stack(terms).sum()


def _layer(student: Tensor, teacher: Tensor, margin: Tensor) -> Tensor:
    same_channels(student, teacher)
    student, teacher = same_size(student, teacher)
    teacher = teacher.maximum(margin.to(teacher.dtype))
    counts = (student > teacher) | (teacher > 0)
    return ((student - teacher).square() * counts).sum() / len(student)


def ofd_margin(norm: nn.BatchNorm2d) -> Tensor:
    """Margin (1, C, 1, 1): the mean of a normal variable given that it is below zero, one for each channel.

    The variable is what the teacher's last batch norm before a ReLU gives: mean `bias`, deviation |`weight|`.
    Where it is next to never below zero (in 1 case of 1000), the margin is -3 deviations.
    """
    mean, deviation = norm.bias.detach(), norm.weight.detach().abs()
    z = mean / deviation
    below = torch.special.ndtr(-z)
    density = (-z.square() / 2).exp() / math.sqrt(2 * math.pi)
    margin = torch.where(below > 1e-3, mean - deviation * density / below, -3 * deviation)
    return margin[None, :, None, None]


class OFDConnector(nn.Module):
    """1x1 convolution and batch norm from the student's channels to the teacher's.

    Args:
        student_channels: C of the student's features.
        teacher_channels: C of the teacher's.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(student_channels, teacher_channels, 1, bias=False)
        nn.init.normal_(self.conv.weight, std=math.sqrt(2 / teacher_channels))
        self.norm = nn.BatchNorm2d(teacher_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Student features (B, C, H, W) with the teacher's channels."""
        out: Tensor = self.norm(self.conv(as_maps(features)))
        return out
