"""ShuffleNet V2, with strides for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..registry import register
from .layers import conv1x1, conv3x3

__all__ = ["ShuffleV2"]


class SplitUnit(nn.Module):
    """One half of the channels passes, the other is filtered; then the halves are shuffled."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        half = planes // 2
        self.conv1 = conv1x1(half, half)
        self.bn1 = nn.BatchNorm2d(half)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(half, half, groups=half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = conv1x1(half, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.relu3 = nn.ReLU()
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        kept, filtered = x.chunk(2, dim=1)
        out: Tensor = self.relu1(self.bn1(self.conv1(filtered)))
        out = self.bn3(self.conv3(self.bn2(self.conv2(out))))
        # the kept half has been activated before, so that activating both changes the filtered one alone
        out = self.shuffle(self.relu3(torch.cat((kept, out), dim=1)))
        return out


class DownUnit(nn.Module):
    """Two branches that halve the size, side by side; then their channels are shuffled."""

    def __init__(self, in_planes: int, planes: int) -> None:
        super().__init__()
        half = planes // 2
        self.conv1 = conv3x3(in_planes, in_planes, stride=2, groups=in_planes)
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.conv2 = conv1x1(in_planes, half)
        self.bn2 = nn.BatchNorm2d(half)
        self.relu2 = nn.ReLU()
        self.conv3 = conv1x1(in_planes, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.relu3 = nn.ReLU()
        self.conv4 = conv3x3(half, half, stride=2, groups=half)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = conv1x1(half, half)
        self.bn5 = nn.BatchNorm2d(half)
        self.relu5 = nn.ReLU()
        self.shuffle = nn.ChannelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        left = self.relu2(self.bn2(self.conv2(self.bn1(self.conv1(x)))))
        right = self.relu3(self.bn3(self.conv3(x)))
        right = self.relu5(self.bn5(self.conv5(self.bn4(self.conv4(right)))))
        out: Tensor = self.shuffle(torch.cat((left, right), dim=1))
        return out


@register("ShuffleV2", "ShuffleNet V2 at full width", "Ma et al., ECCV 2018", lr=0.01)
class ShuffleV2(nn.Module):
    """Three stages of split units after a 1x1 stem.

    The pre-activation features of a stage are those of its last unit, before the filtered half is activated.

    Args:
        num_classes: Size of the output.
        in_channels: Channels of the images.

    Source: Ma et al., ShuffleNet V2, ECCV 2018, table 5.
    """

    feature_taps = ("relu1", "layer1", "layer2", "layer3")
    preact_taps = ("relu1", "layer1.3.relu3:input", "layer2.7.relu3:input", "layer3.3.relu3:input")

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv1 = conv1x1(in_channels, 24)
        self.bn1 = nn.BatchNorm2d(24)
        self.relu1 = nn.ReLU()
        self.layer1 = _stage(24, 116, units=4)
        self.layer2 = _stage(116, 232, units=8)
        self.layer3 = _stage(232, 464, units=4)
        self.conv2 = conv1x1(464, 1024)
        self.bn2 = nn.BatchNorm2d(1024)
        self.relu2 = nn.ReLU()
        self.linear = nn.Linear(1024, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        out = self.relu1(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        out = self.relu2(self.bn2(self.conv2(out)))
        logits: Tensor = self.linear(out.mean((2, 3)))
        return logits


def _stage(in_planes: int, planes: int, units: int) -> nn.Sequential:
    return nn.Sequential(DownUnit(in_planes, planes), *(SplitUnit(planes) for _ in range(units - 1)))
