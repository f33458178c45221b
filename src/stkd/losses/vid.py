"""VID: variational information distillation."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .features import as_maps, pairs, same_channels, same_size

__all__ = ["VIDRegressor", "vid"]


def vid(student_features: Tensor, teacher_features: Tensor, *, variance: Tensor) -> Tensor:
    """Gaussian negative log likelihood of the teacher, ((f_s - f_t)^2 / v + log v) / 2, mean over all entries.

    Args:
        student_features: (B, D) or (B, C, H, W): the mean that `VIDRegressor` predicts.
        teacher_features: The same channels; the larger map is average-pooled to the smaller.
        variance: v (C,), one per channel.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.arange(16.0).view(2, 2, 2, 2) / 16  # (B, C, H, W)
        >>> teacher = student.square()
        >>> variance = torch.tensor([1.0, 2.0])  # (C,)
        >>> round(vid(student, teacher, variance=variance).item(), 3)
        0.186

    Source: Ahn et al., Variational Information Distillation for Knowledge Transfer, CVPR 2019, section 3;
    the mean in place of the sum is the CRD benchmark's.
    """
    [(mean, teacher)] = pairs(student_features, teacher_features)
    same_channels(mean, teacher)
    mean, teacher = same_size(as_maps(mean), as_maps(teacher))
    v = variance.to(mean.dtype)[:, None, None]
    return ((mean - teacher).square() / v + v.log()).mean() / 2


class VIDRegressor(nn.Module):
    """The variational distribution: three 1x1 convolutions predict the mean, each channel learns a variance.

    Args:
        student_channels: C of the student's features.
        teacher_channels: C of the teacher's.
        initial_variance: Every variance at the start.
        smallest_variance: Added to the softplus.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        initial_variance: float = 5.0,
        smallest_variance: float = 1e-5,
    ) -> None:
        super().__init__()
        self.smallest_variance = smallest_variance
        self.regressor = nn.Sequential(
            nn.Conv2d(student_channels, teacher_channels, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher_channels, teacher_channels, 1, bias=False),
            nn.ReLU(),
            nn.Conv2d(teacher_channels, teacher_channels, 1, bias=False),
        )
        start = math.log(math.expm1(initial_variance - smallest_variance))
        self.log_scale = nn.Parameter(torch.full((teacher_channels,), start))

    def variance(self) -> Tensor:
        """v (C,), positive."""
        return F.softplus(self.log_scale) + self.smallest_variance

    def forward(self, student_features: Tensor, teacher_features: Tensor) -> Tensor:
        """The loss of one layer, features (B, D) or (B, C, H, W); the larger map is pooled to the smaller first."""
        student, teacher = same_size(as_maps(student_features), as_maps(teacher_features))
        return vid(self.regressor(student), teacher, variance=self.variance())
