"""The ImageNet ResNet with bottleneck blocks, with a stem for small images."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from ..registry import register
from .layers import conv1x1, conv3x3, init_fan_out

__all__ = ["BottleneckResNet"]

EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut; `relu3` sees the sum."""

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        out_planes = EXPANSION * planes
        self.conv1 = conv1x1(in_planes, planes)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(planes, planes, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu2 = nn.ReLU()
        self.conv3 = conv1x1(planes, out_planes)
        self.bn3 = nn.BatchNorm2d(out_planes)
        self.relu3 = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_planes != out_planes:
            self.shortcut = nn.Sequential(conv1x1(in_planes, out_planes, stride), nn.BatchNorm2d(out_planes))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu1(self.bn1(self.conv1(x)))
        out = self.relu2(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out = self.relu3(out + self.shortcut(x))
        return out


class BottleneckResNet(nn.Module):
    """Four stages of bottleneck blocks after a 3x3 stem of stride 1.

    Args:
        blocks: Number of blocks of each stage.
        num_classes: Size of the output.
        in_channels: Channels of the images.

    Source: He et al., Deep residual learning for image recognition, CVPR 2016, table 1.
    """

    def __init__(self, blocks: tuple[int, int, int, int], num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, 64)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.layer1 = _stage(64, 64, blocks[0], stride=1)
        self.layer2 = _stage(256, 128, blocks[1], stride=2)
        self.layer3 = _stage(512, 256, blocks[2], stride=2)
        self.layer4 = _stage(1024, 512, blocks[3], stride=2)
        self.linear = nn.Linear(2048, num_classes)
        self.feature_taps = ("relu", "layer1", "layer2", "layer3", "layer4")
        self.preact_taps = ("relu", *(f"layer{i}.{count - 1}.relu3:input" for i, count in enumerate(blocks, 1)))
        init_fan_out(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        logits: Tensor = self.linear(out.mean((2, 3)))
        return logits


def _stage(in_planes: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(in_planes, planes, stride)
    return nn.Sequential(first, *(Bottleneck(EXPANSION * planes, planes, 1) for _ in range(blocks - 1)))


register("ResNet50", "ImageNet ResNet-50 with a stem for small images", "He et al., CVPR 2016")(
    partial(BottleneckResNet, (3, 4, 6, 3))
)
