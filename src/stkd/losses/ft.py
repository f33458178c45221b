"""FT: factor transfer, with paraphraser and translator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .features import Features, pairs, same_size

__all__ = ["Paraphraser", "Translator", "ft"]


def ft(student_features: Features, teacher_features: Features) -> Tensor:
    """Mean absolute difference of the factors' energy maps mean_c f_c^2 with length 1, sum over the layers.

    Args:
        student_features: Factors (B, C, H, W) of the translator, or a list.
        teacher_features: Factors of the paraphraser; the larger map is average-pooled to the smaller.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.arange(16.0).view(2, 2, 2, 2) / 16  # (B, C, H, W)
        >>> teacher = student.square()
        >>> round(ft(student, teacher).item(), 3)
        0.084

    Source: Kim et al., Paraphrasing Complex Network: Network Compression via Factor Transfer, NeurIPS 2018 (L_FT with
    p = 1), in the CRD benchmark's form, which compares energy maps in place of the whole factors.
    """
    layers = pairs(student_features, teacher_features, ndim=4)
    return torch.stack([_layer(*same_size(s, t)) for s, t in layers]).sum()


def _layer(student: Tensor, teacher: Tensor) -> Tensor:
    return F.l1_loss(_energy(student), _energy(teacher))


def _energy(factor: Tensor) -> Tensor:
    return F.normalize(factor.square().mean(1).flatten(1), dim=1)


class Paraphraser(nn.Module):
    """Autoencoder of the teacher's features; its code is the teacher's factor.

    Trained before the student, by the reconstruction error (`reconstruction_loss`).

    Args:
        channels: C of the teacher's features.
        rate: Channels of the factor per channel of the teacher.
    """

    def __init__(self, channels: int, rate: float = 0.5) -> None:
        super().__init__()
        code = max(1, int(channels * rate))
        self.encoder = nn.Sequential(_block(channels, channels), _block(channels, code), _block(code, code))
        self.decoder = nn.Sequential(_block(code, code), _block(code, channels), _block(channels, channels))

    def forward(self, features: Tensor) -> Tensor:
        """The factor of teacher features (B, C, H, W)."""
        factor: Tensor = self.encoder(features)
        return factor

    def reconstruction_loss(self, features: Tensor) -> Tensor:
        """Mean squared error of the decoded factor."""
        return F.mse_loss(self.decoder(self.encoder(features)), features)


class Translator(nn.Module):
    """Three convolutions from the student's features to a factor like the teacher's.

    Args:
        student_channels: C of the student's features.
        teacher_channels: C of the teacher's.
        rate: Channels of the factor per channel of the teacher.
    """

    def __init__(self, student_channels: int, teacher_channels: int, rate: float = 0.5) -> None:
        super().__init__()
        code = max(1, int(teacher_channels * rate))
        self.encoder = nn.Sequential(
            _block(student_channels, student_channels, norm=True),
            _block(student_channels, code, norm=True),
            _block(code, code, norm=True),
        )

    def forward(self, features: Tensor) -> Tensor:
        """The factor of student features (B, C, H, W)."""
        factor: Tensor = self.encoder(features)
        return factor


def _block(channels: int, out: int, norm: bool = False) -> nn.Sequential:
    middle = [nn.BatchNorm2d(out)] if norm else []
    return nn.Sequential(nn.Conv2d(channels, out, 3, padding=1), *middle, nn.LeakyReLU(0.1))
