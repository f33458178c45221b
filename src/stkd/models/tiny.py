"""Small networks for demos on small images: seconds an epoch on a laptop's CPU."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from .registry import register

__all__ = ["TinyCNN"]


class TinyCNN(nn.Module):
    """Three blocks conv 3x3 - BN - ReLU of width w, 2w, 4w with max-pools between them, global average pooling, linear.

    Args:
        width: Channels of the first block, w.
        num_classes: Size of the output.
        in_channels: Channels of the images.
    """

    feature_taps = ("block1", "block2", "block3")
    preact_taps = ("block1.2:input", "block2.2:input", "block3.2:input")

    def __init__(self, width: int, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.block1 = _block(in_channels, width)
        self.block2 = _block(width, 2 * width)
        self.block3 = _block(2 * width, 4 * width)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(4 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W), at least 4x4, to logits (B, num_classes)."""
        out = self.block3(self.pool(self.block2(self.pool(self.block1(x)))))
        logits: Tensor = self.fc(out.mean((2, 3)))
        return logits


def _block(in_planes: int, planes: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(in_planes, planes, 3, padding=1, bias=False), nn.BatchNorm2d(planes), nn.ReLU())


for _width in (2, 4, 8, 16, 32):
    register(f"cnn{_width}", f"three convolutions of {_width}, {2 * _width} and {4 * _width} channels, for demos")(
        partial(TinyCNN, _width)
    )
