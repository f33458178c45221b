"""ShuffleNet V1 with three groups, with strides for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ..registry import register
from .layers import conv1x1, conv3x3

__all__ = ["ShuffleV1"]

GROUPS = 3
STEM = 24


class ShuffleUnit(nn.Module):
    """Grouped 1x1, shuffle, depthwise 3x3, grouped 1x1; added to the input, or beside it where the size halves."""

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        # Where the size halves, the pooled input makes up the rest of the channels.
        planes -= in_planes if stride == 2 else 0
        hidden = planes // 4
        # The first unit of all sees too few channels to be split.
        groups = 1 if in_planes == STEM else GROUPS
        self.conv1 = conv1x1(in_planes, hidden, groups=groups)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.relu1 = nn.ReLU()
        self.shuffle = nn.ChannelShuffle(groups)
        self.conv2 = conv3x3(hidden, hidden, stride, groups=hidden)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.relu2 = nn.ReLU()
        self.conv3 = conv1x1(hidden, planes, groups=GROUPS)
        self.bn3 = nn.BatchNorm2d(planes)
        self.relu3 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.shuffle(self.relu1(self.bn1(self.conv1(x))))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out = torch.cat((out, avg_pool2d(x, 3, stride=2, padding=1)), dim=1) if self.stride == 2 else out + x
        out = self.relu3(out)
        return out


@register("ShuffleV1", "ShuffleNet V1, three groups", "Zhang et al., CVPR 2018", lr=0.01)
class ShuffleV1(nn.Module):
    """Three stages of shuffle units after a 1x1 stem.

    Args:
        num_classes: Size of the output.
        in_channels: Channels of the images.

    Source: Zhang et al., ShuffleNet, CVPR 2018, table 1.
    """

    feature_taps = ("relu", "layer1", "layer2", "layer3")
    preact_taps = ("relu", "layer1.3.relu3:input", "layer2.7.relu3:input", "layer3.3.relu3:input")

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv1 = conv1x1(in_channels, STEM)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU()
        self.layer1 = _stage(STEM, 240, units=4)
        self.layer2 = _stage(240, 480, units=8)
        self.layer3 = _stage(480, 960, units=4)
        self.linear = nn.Linear(960, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        logits: Tensor = self.linear(out.mean((2, 3)))
        return logits


def _stage(in_planes: int, planes: int, units: int) -> nn.Sequential:
    first = ShuffleUnit(in_planes, planes, stride=2)
    return nn.Sequential(first, *(ShuffleUnit(planes, planes, stride=1) for _ in range(units - 1)))
