"""ReviewKD: knowledge review, each student layer learns from the teacher's shallower ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .features import Features, pairs, same_channels, same_size

__all__ = ["Review", "reviewkd"]


def reviewkd(student_features: Features, teacher_features: Features) -> Tensor:
    """Hierarchical context loss: squared error at full size (weight 1) and pooled to 4, 2, 1 (1/2, 1/4, 1/8).

    Weighted mean over the sizes that are smaller than the map, mean over all entries, sum over the layers.

    Args:
        student_features: (B, C, H, W) or a list, from `Review`.
        teacher_features: The same channels; the larger map is average-pooled to the smaller.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.arange(16.0).view(2, 2, 2, 2) / 16  # (B, C, H, W)
        >>> teacher = student.square()
        >>> round(reviewkd(student, teacher).item(), 3)
        0.033

    Source: Chen et al., Distilling Knowledge via Knowledge Review, CVPR 2021, section 3.3 (HCL).
    """
    return torch.stack([_layer(s, t) for s, t in pairs(student_features, teacher_features, ndim=4)]).sum()


def _layer(student: Tensor, teacher: Tensor) -> Tensor:
    same_channels(student, teacher)
    student, teacher = same_size(student, teacher)
    sizes = [size for size in (4, 2, 1) if size < student.shape[2]]
    weights = [0.5**level for level in range(len(sizes) + 1)]
    levels = [F.mse_loss(student, teacher)]
    levels += [F.mse_loss(F.adaptive_avg_pool2d(student, n), F.adaptive_avg_pool2d(teacher, n)) for n in sizes]
    weighted = [weight * level for weight, level in zip(weights, levels, strict=True)]
    return torch.stack(weighted).sum() / sum(weights)


class Review(nn.Module):
    """Residual learning of the student's layers, deepest first, by attention-based fusion.

    Args:
        student_shapes: (B, C, H, W) of each layer, shallow to deep.
        teacher_shapes: The same of the teacher's layers, as many.
        width: Channels inside a fusion, at most; the deepest student layer's if those are fewer.
    """

    def __init__(
        self, student_shapes: Sequence[Sequence[int]], teacher_shapes: Sequence[Sequence[int]], width: int = 512
    ) -> None:
        super().__init__()
        width = min(width, student_shapes[-1][1])
        deepest = len(student_shapes) - 1
        self.sizes = [tuple(shape[2:]) for shape in teacher_shapes]
        self.fusions = nn.ModuleList(
            Fusion(s[1], width, t[1], fuse=i < deepest)
            for i, (s, t) in enumerate(zip(student_shapes, teacher_shapes, strict=True))
        )

    def forward(self, student_features: Sequence[Tensor]) -> list[Tensor]:
        """The student's layers (B, C, H, W), shallow to deep, with the teacher's channels and sizes."""
        residual: Tensor | None = None
        reviewed: list[Tensor] = []
        for features, size, fusion in reversed(list(zip(student_features, self.sizes, self.fusions, strict=True))):
            out, residual = fusion(features, residual, size)
            reviewed.append(out)
        return reviewed[::-1]


class Fusion(nn.Module):
    """ABF: attention-based fusion of a layer with what came from the deeper ones.

    Args:
        channels: C of the student's layer.
        width: Channels of the residual that goes on to the next shallower layer.
        out_channels: C of the teacher's layer.
        fuse: False for the deepest layer, which has nothing to fuse with.
    """

    def __init__(self, channels: int, width: int, out_channels: int, fuse: bool) -> None:
        super().__init__()
        self.reduce = _conv(channels, width, 1)
        self.attention = nn.Sequential(nn.Conv2d(2 * width, 2, 1), nn.Sigmoid()) if fuse else None
        self.expand = _conv(width, out_channels, 3)

    def forward(self, features: Tensor, residual: Tensor | None, size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Fuse.

        Args:
            features: Student layer (B, C, H, W).
            residual: (B, width, h, w) of the next deeper layer, None at the deepest.
            size: Height and width of the teacher's layer.

        Returns:
            The layer with the teacher's channels and size; the residual for the next shallower layer.
        """
        x = self.reduce(features)
        if self.attention is not None and residual is not None:
            residual = F.interpolate(residual, x.shape[2:])
            weights = self.attention(torch.cat([x, residual], dim=1))
            x = x * weights[:, :1] + residual * weights[:, 1:]
        if x.shape[2:] != size:
            x = F.interpolate(x, size)
        return self.expand(x), x


def _conv(channels: int, out: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return nn.Sequential(conv, nn.BatchNorm2d(out))
