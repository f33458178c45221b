"""FitNet: hints from the middle of the teacher."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .features import Features, as_maps, pairs, same_channels, same_size

__all__ = ["FitNetRegressor", "fitnet"]


def fitnet(student_features: Features, teacher_features: Features) -> Tensor:
    """Hint loss, mean squared error over all entries, sum over the layers.

    Args:
        student_features: (B, D) or (B, C, H, W) or a list, from the regressor where the teacher's channels differ.
        teacher_features: The same channels; the larger map is average-pooled to the smaller.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.arange(16.0).view(2, 2, 2, 2) / 16  # (B, C, H, W)
        >>> teacher = student.square()
        >>> round(fitnet(student, teacher).item(), 3)
        0.033

    Source: Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015, equation 3;
    the mean in place of the sum is the CRD benchmark's.
    """
    return torch.stack([_layer(s, t) for s, t in pairs(student_features, teacher_features)]).sum()


def _layer(student: Tensor, teacher: Tensor) -> Tensor:
    same_channels(student, teacher)
    return F.mse_loss(*same_size(student, teacher))


class FitNetRegressor(nn.Module):
    """Convolution, batch norm and ReLU from the student's channels to the teacher's.

    A map twice as high as the teacher's is halved by a 3x3 convolution; all others keep their size (1x1) and leave
    the rest to the loss.

    Args:
        student_shape: (B, D) or (B, C, H, W).
        teacher_shape: The same of the teacher's layer.

    Source: the CRD benchmark's regressor (Tian et al., ICLR 2020).
    """

    def __init__(self, student_shape: Sequence[int], teacher_shape: Sequence[int]) -> None:
        super().__init__()
        halve = len(student_shape) == 4 and student_shape[2] == 2 * teacher_shape[2]
        kernel, stride, padding = (3, 2, 1) if halve else (1, 1, 0)
        self.conv = nn.Conv2d(student_shape[1], teacher_shape[1], kernel, stride, padding)
        self.norm = nn.BatchNorm2d(teacher_shape[1])

    def forward(self, features: Tensor) -> Tensor:
        """Student features (B, D) or (B, C, H, W) with the teacher's channels."""
        out: Tensor = self.norm(self.conv(as_maps(features))).relu()
        return out.flatten(1) if features.ndim == 2 else out
