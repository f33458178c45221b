"""SRRL: softmax regression representation learning."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .divergences import mse
from .features import as_maps
from .fitnet import fitnet

__all__ = ["SRRLConnector", "srrl"]


def srrl(
    student_features: Tensor, teacher_features: Tensor, *, student_logits: Tensor, teacher_logits: Tensor
) -> Tensor:
    """Squared error of the features plus that of the teacher's classifier on them, each a mean over all entries.

    Args:
        student_features: Last features (B, D) or (B, C, H, W), from the connector.
        teacher_features: The same channels; the larger map is average-pooled to the smaller.
        student_logits: (B, C) of the teacher's frozen classifier on the pooled student features.
        teacher_logits: (B, C) of the teacher.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # (B, D)
        >>> teacher = torch.tensor([[2.0, 0.0], [1.0, 1.0], [1.0, 3.0]])
        >>> classifier = torch.tensor([[1.0, -1.0], [-1.0, 1.0]])  # the frozen weights of the teacher
        >>> logits = {"student_logits": student @ classifier.T, "teacher_logits": teacher @ classifier.T}
        >>> round(srrl(student, teacher, **logits).item(), 3)
        3.0

    Source: Yang et al., Knowledge Distillation via Softmax Regression Representation Learning, ICLR 2021
    (L_FM and L_SR, the latter as squared error of the logits).
    """
    classes = student_logits.shape[-1]
    return fitnet(student_features, teacher_features) + mse(student_logits, teacher_logits) / classes


class SRRLConnector(nn.Module):
    """1x1 convolution, batch norm and ReLU from the student's channels to the teacher's.

    Args:
        student_channels: C of the student's last features.
        teacher_channels: C of the teacher's.
    """

    def __init__(self, student_channels: int, teacher_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(student_channels, teacher_channels, 1, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        self.norm = nn.BatchNorm2d(teacher_channels)

    def forward(self, features: Tensor) -> Tensor:
        """Student features (B, D) or (B, C, H, W) with the teacher's channels."""
        out = F.relu(self.norm(self.conv(as_maps(features))))
        return out.flatten(1) if features.ndim == 2 else out
