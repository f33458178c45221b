"""ResNets for small images: three stages of basic blocks, 6n + 2 layers."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from ..registry import register
from .layers import conv1x1, conv3x3, init_fan_out

__all__ = ["ResNet"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; `relu2` sees the sum."""

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_planes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu2 = nn.ReLU()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or in_planes != planes:
            self.downsample = nn.Sequential(conv1x1(in_planes, planes, stride), nn.BatchNorm2d(planes))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu1(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out = self.relu2(out + self.downsample(x))
        return out


class ResNet(nn.Module):
    """CIFAR ResNet.

    Args:
        depth: Number of layers, 6n + 2 for n blocks a stage.
        widths: Channels of the stem and of the three stages.
        num_classes: Size of the output.
        in_channels: Channels of the images.

    Source: He et al., Deep residual learning for image recognition, CVPR 2016, section 4.2.
    """

    def __init__(self, depth: int, widths: tuple[int, int, int, int], num_classes: int, in_channels: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        stem, *stages = widths
        self.conv1 = conv3x3(in_channels, stem)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        self.layer1 = _stage(stem, stages[0], blocks, stride=1)
        self.layer2 = _stage(stages[0], stages[1], blocks, stride=2)
        self.layer3 = _stage(stages[1], stages[2], blocks, stride=2)
        self.fc = nn.Linear(stages[2], num_classes)
        self.feature_taps = ("relu", "layer1", "layer2", "layer3")
        self.preact_taps = ("relu", *(f"layer{stage}.{blocks - 1}.relu2:input" for stage in (1, 2, 3)))
        init_fan_out(self)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.layer3(self.layer2(self.layer1(out)))
        logits: Tensor = self.fc(out.mean((2, 3)))
        return logits


def _stage(in_planes: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_planes, planes, stride)
    return nn.Sequential(first, *(BasicBlock(planes, planes, 1) for _ in range(blocks - 1)))


for _depth in (8, 14, 20, 32, 44, 56, 110):
    register(
        f"resnet{_depth}", f"ResNet of {_depth} layers for small images, 16 to 64 channels", "He et al., CVPR 2016"
    )(partial(ResNet, _depth, (16, 16, 32, 64)))
for _depth in (8, 32):
    register(f"resnet{_depth}x4", f"resnet{_depth}, four times as wide", "He et al., CVPR 2016")(
        partial(ResNet, _depth, (32, 64, 128, 256))
    )
