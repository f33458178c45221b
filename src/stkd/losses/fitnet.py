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

    It brings a map to the teacher's size: twice as high by a 3x3 convolution of stride 2, half as high by a transposed
    one of 4x4, any other larger map by a kernel that is as much larger. Of other smaller maps the size stays (1x1), and
    the loss pools the teacher's.

    Args:
        student_shape: (B, D) or (B, C, H, W).
        teacher_shape: The same of the teacher's layer.

    Source: the CRD benchmark's regressor (Tian et al., ICLR 2020).
    """

    def __init__(self, student_shape: Sequence[int], teacher_shape: Sequence[int]) -> None:
        super().__init__()
        channels = student_shape[1], teacher_shape[1]
        (height, width), (taught_height, taught_width) = _size(student_shape), _size(teacher_shape)
        self.conv: nn.Conv2d | nn.ConvTranspose2d
        if height == 2 * taught_height:
            self.conv = nn.Conv2d(*channels, 3, stride=2, padding=1)
        elif 2 * height == taught_height:
            self.conv = nn.ConvTranspose2d(*channels, 4, stride=2, padding=1)
        elif height >= taught_height:
            self.conv = nn.Conv2d(*channels, (1 + height - taught_height, 1 + max(0, width - taught_width)))
        else:
            self.conv = nn.Conv2d(*channels, 1)
        self.norm = nn.BatchNorm2d(teacher_shape[1])

    def forward(self, features: Tensor) -> Tensor:
        """Student features (B, D) or (B, C, H, W) with the teacher's channels."""
        out: Tensor = self.norm(self.conv(as_maps(features))).relu()
        return out.flatten(1) if features.ndim == 2 else out


def _size(shape: Sequence[int]) -> tuple[int, int]:
    return (shape[2], shape[3]) if len(shape) == 4 else (1, 1)
