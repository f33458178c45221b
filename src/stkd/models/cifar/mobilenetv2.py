"""MobileNetV2 at half width, with strides for small images."""

from __future__ import annotations

from torch import Tensor, nn

from ..registry import register
from .layers import conv1x1, conv3x3, init_fan_out

__all__ = ["MobileNetV2"]

WIDTH = 0.5
STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels at full width, number of blocks and stride of the first one, for each stage."""
HEAD = 1280


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution, filter each channel, project back; the sum has no activation."""

    def __init__(self, in_planes: int, planes: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = expansion * in_planes
        self.conv = nn.Sequential(
            conv1x1(in_planes, hidden),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            conv3x3(hidden, hidden, stride, groups=hidden),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            conv1x1(hidden, planes),
            nn.BatchNorm2d(planes),
        )
        self.residual = stride == 1 and in_planes == planes

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.residual else out


@register("MobileNetV2", "MobileNetV2 at half width, expansion 6", "Sandler et al., CVPR 2018", lr=0.01)
class MobileNetV2(nn.Module):
    """Inverted residual blocks after a stem of stride 2.

    Its features are linear bottlenecks, so that the pre-activation features are the features.

    Args:
        num_classes: Size of the output.
        in_channels: Channels of the images.

    Source: Sandler et al., MobileNetV2, CVPR 2018, table 2.
    """

    feature_taps = ("conv1", "blocks.1", "blocks.2", "blocks.4", "blocks.6")
    preact_taps = feature_taps

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        planes = int(32 * WIDTH)
        self.conv1 = nn.Sequential(conv3x3(in_channels, planes, stride=2), nn.BatchNorm2d(planes), nn.ReLU())
        stages = []
        for expansion, width, count, stride in STAGES:
            in_planes, planes = planes, int(width * WIDTH)
            first = InvertedResidual(in_planes, planes, stride, expansion)
            rest = (InvertedResidual(planes, planes, 1, expansion) for _ in range(count - 1))
            stages.append(nn.Sequential(first, *rest))
        self.blocks = nn.Sequential(*stages)
        self.conv2 = nn.Sequential(conv1x1(planes, HEAD), nn.BatchNorm2d(HEAD), nn.ReLU())
        self.classifier = nn.Sequential(nn.Linear(HEAD, num_classes))
        init_fan_out(self, linear_std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        out = self.conv2(self.blocks(self.conv1(x)))
        logits: Tensor = self.classifier(out.mean((2, 3)))
        return logits
