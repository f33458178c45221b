"""Wide residual networks: pre-activation blocks, depth 6n + 4."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from ..registry import register
from .layers import conv1x1, conv3x3, init_fan_out

__all__ = ["WideResNet"]


class PreActBlock(nn.Module):
    """BN-ReLU-conv twice and a shortcut.

    Where the width changes, the shortcut starts after the first activation; elsewhere it is the block's input itself.
    """

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.relu1 = nn.ReLU()
        self.conv1 = conv3x3(in_planes, planes, stride)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu2 = nn.ReLU()
        self.conv2 = conv3x3(planes, planes)
        # The published weights call it so.
        self.convShortcut = conv1x1(in_planes, planes, stride) if in_planes != planes else None

    def forward(self, x: Tensor) -> Tensor:
        active = self.relu1(self.bn1(x))
        shortcut = x if self.convShortcut is None else self.convShortcut(active)
        out: Tensor = self.conv2(self.relu2(self.bn2(self.conv1(active))))
        return shortcut + out


class Stage(nn.Module):
    """Blocks in a row, under the name `layer`."""

    def __init__(self, in_planes: int, planes: int, blocks: int, stride: int) -> None:
        super().__init__()
        first = PreActBlock(in_planes, planes, stride)
        self.layer = nn.Sequential(first, *(PreActBlock(planes, planes, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out


class WideResNet(nn.Module):
    """WRN-depth-width.

    The stages end in a sum that nothing has activated yet. As in the benchmark, a feature is that sum and the
    pre-activation feature is the sum after the batch norm that follows it.

    Args:
        depth: Number of layers, 6n + 4 for n blocks a stage.
        width: Factor of the number of channels.
        num_classes: Size of the output.
        in_channels: Channels of the images.

    Source: Zagoruyko and Komodakis, Wide residual networks, BMVC 2016, table 1.
    """

    def __init__(self, depth: int, width: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        planes = (16 * width, 32 * width, 64 * width)
        self.conv1 = conv3x3(in_channels, 16)
        self.block1 = Stage(16, planes[0], blocks, stride=1)
        self.block2 = Stage(planes[0], planes[1], blocks, stride=2)
        self.block3 = Stage(planes[1], planes[2], blocks, stride=2)
        self.bn1 = nn.BatchNorm2d(planes[2])
        self.relu = nn.ReLU()
        self.fc = nn.Linear(planes[2], num_classes)
        self.feature_taps = ("conv1", "block1", "block2", "block3")
        self.preact_taps = ("conv1", "block2.layer.0.bn1", "block3.layer.0.bn1", "bn1")
        init_fan_out(self)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        out = self.block3(self.block2(self.block1(self.conv1(x))))
        out = self.relu(self.bn1(out))
        logits: Tensor = self.fc(out.mean((2, 3)))
        return logits


for _depth, _width in ((16, 1), (16, 2), (40, 1), (40, 2)):
    register(
        f"wrn_{_depth}_{_width}",
        f"Wide ResNet of {_depth} layers, width factor {_width}",
        "Zagoruyko and Komodakis, BMVC 2016",
    )(partial(WideResNet, _depth, _width))
