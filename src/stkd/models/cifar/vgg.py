"""VGG with batch norm and one linear layer."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from ..registry import register
from .layers import init_fan_out

__all__ = ["VGG"]

WIDTHS = (64, 128, 256, 512, 512)
FOURTH_POOL_FROM = 64
"""Side of the image, in pixels, from which the last two blocks are pooled apart; below it they share a resolution."""


class VGG(nn.Module):
    """Five blocks of 3x3 convolutions, max-pooled three times (four times from 64x64 pixels on).

    Args:
        layers: Number of convolutions of each block.
        num_classes: Size of the output.
        in_channels: Channels of the images.

    Source: Simonyan and Zisserman, Very deep convolutional networks, ICLR 2015, table 1.
    """

    def __init__(self, layers: tuple[int, int, int, int, int], num_classes: int, in_channels: int) -> None:
        super().__init__()
        inputs = (in_channels, *WIDTHS[:-1])
        self.block0, self.block1, self.block2, self.block3, self.block4 = map(_block, inputs, WIDTHS, layers)
        self.pool = nn.MaxPool2d(2)
        self.classifier = nn.Linear(WIDTHS[-1], num_classes)
        self.feature_taps = tuple(f"block{i}" for i in range(5))
        # As in the benchmark, the first block counts as the stem and is tapped after its activation.
        self.preact_taps = ("block0", *(f"block{i}.{3 * layers[i] - 1}:input" for i in range(1, 5)))
        init_fan_out(self, linear_std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W), at least 8x8, to logits (B, num_classes)."""
        out = self.block1(self.pool(self.block0(x)))
        out = self.block3(self.pool(self.block2(self.pool(out))))
        if min(x.shape[-2:]) >= FOURTH_POOL_FROM:
            out = self.pool(out)
        out = self.block4(out)
        logits: Tensor = self.classifier(out.mean((2, 3)))
        return logits


def _block(in_planes: int, planes: int, layers: int) -> nn.Sequential:
    modules: list[nn.Module] = []
    for i in range(layers):
        modules += [nn.Conv2d(planes if i else in_planes, planes, 3, padding=1), nn.BatchNorm2d(planes), nn.ReLU()]
    return nn.Sequential(*modules)


for _depth, _layers in {
    8: (1, 1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}.items():
    register(
        f"vgg{_depth}", f"VGG-{_depth} with batch norm and a single linear layer", "Simonyan and Zisserman, ICLR 2015"
    )(partial(VGG, _layers))
