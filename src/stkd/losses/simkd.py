"""SimKD: the student reuses the teacher's classifier."""

from __future__ import annotations

from torch import Tensor, nn

from .features import as_maps
from .fitnet import fitnet

__all__ = ["SimKDProjector", "simkd"]


def simkd(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Mean squared error of the last features; the teacher's classifier then serves the student as it is.

    Args:
        student_features: (B, D) or (B, C, H, W), from the projector.
        teacher_features: The same channels; the larger map is average-pooled to the smaller.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.arange(16.0).view(2, 2, 2, 2) / 16  # (B, C, H, W)
        >>> teacher = student.square()
        >>> round(simkd(student, teacher).item(), 3)
        0.033

    Source: Chen et al., Knowledge Distillation with the Reused Teacher Classifier, CVPR 2022 (L_SimKD).
    """
    return fitnet(student_features, teacher_features)


class SimKDProjector(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each with batch norm and ReLU, from the student's channels to the teacher's.

    It stays with the student when the student is used, and so does the teacher's classifier.

    Args:
        student_channels: C of the student's last features.
        teacher_channels: C of the teacher's.
        factor: The middle has teacher_channels / factor channels.
    """

    def __init__(self, student_channels: int, teacher_channels: int, factor: int = 2) -> None:
        super().__init__()
        middle = max(1, teacher_channels // factor)
        self.layers = nn.Sequential(
            _block(student_channels, middle, 1), _block(middle, middle, 3), _block(middle, teacher_channels, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Student features (B, D) or (B, C, H, W) with the teacher's channels."""
        out: Tensor = self.layers(as_maps(features))
        return out.flatten(1) if features.ndim == 2 else out


def _block(channels: int, out: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU())
