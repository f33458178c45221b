"""`stkd.data.decode.resize_square` as a graph: from one whole picture to the square that a model sees.

Resize operators of other runtimes round otherwise than torch. So each direction is a product with a matrix of weights,
which the graph computes from the picture's height and width as torch does for uint8: a triangle or a cubic filter
(a = -0.5) as wide as the reduction, weights of 16 bits, and levels rounded to whole numbers after each direction
(torch/aten/src/ATen/native/cpu/UpSampleKernel.cpp). The crop is a choice of the rows of these matrices.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..models.files import ModelInfo

__all__ = ["PICTURE", "Whole"]

PICTURE = "picture"
"""The input's name."""

_LONGEST = 4  # as in `resize_square`: of a longer picture the middle is shown
_BITS = 15  # of a weight, without its sign
_MOST_PRECISE = 22  # bits behind the point
_HALF = 2**8


class Whole(nn.Module):
    """A model that is given one picture, and makes the square that it sees itself.

    Args:
        model: From images (N, C, S, S) in 0..1 to logits.
        info: Size, crop and interpolation of its input.
    """

    def __init__(self, model: nn.Module, info: ModelInfo) -> None:
        super().__init__()
        self.model = model
        self.size, self.cubic = info.size, info.interpolation != "bilinear"
        self.plain = info.crop_pct == 1 and not self.cubic
        self.shorter = math.floor(info.size / info.crop_pct)
        self.eval()

    def forward(self, picture: Tensor) -> Tensor:
        """From uint8 (H, W, C) to logits (1, classes)."""
        logits: Tensor = self.model(self.square(picture)[None] / 255)
        return logits

    def square(self, picture: Tensor) -> Tensor:
        """The square that the model sees, float32 (C, S, S) in 0..255."""
        height, width = picture.shape[:2]
        side: int = torch.sym_min(height, width)  # type: ignore[assignment]  # symbolic in the graph
        rows = _resized(picture.permute(2, 0, 1), *self._weights(width, side))  # (C, H, S)
        return _resized(rows.transpose(1, 2), *self._weights(height, side)).transpose(1, 2)

    def _weights(self, length: int, side: int) -> tuple[Tensor, Tensor]:
        """Weights of the pixels in one direction as whole numbers float64 (S, length), and what they are divided by.

        Args:
            length: Pixels in this direction.
            side: Those of the picture's shorter side.
        """
        shown = side if self.plain else torch.sym_min(length, _LONGEST * side)
        out = self.size if self.plain else self.shorter * shown // side
        start = (length - shown) // 2
        scale: Tensor = torch.scalar_tensor(shown, dtype=torch.float64) / out  # type: ignore[assignment]
        wide = scale.clamp(min=1)
        support = wide * (2 if self.cubic else 1)
        centre = scale * (torch.arange(out, dtype=torch.float64)[:, None] + 0.5)
        place = torch.arange(length, dtype=torch.float64) - start
        low, high = (centre - support + 0.5).clamp(min=0).floor(), (centre + support + 0.5).floor().clamp(max=shown)
        taps = self._filter((place - centre + 0.5).abs() / wide) * ((place >= low) & (place < high))
        weights = taps / taps.sum(1, keepdim=True)
        powers = 2.0 ** torch.arange(1, _MOST_PRECISE + 1, dtype=torch.float64)
        precise = torch.where(weights.max() * powers + 0.5 < 2**_BITS, powers, 1).max()
        weights = weights.sign() * (weights.abs() * precise + 0.5).floor()
        if not self.plain:
            spare = out - self.size
            first = spare // 2 + (spare % 2) * (spare // 2 % 2)  # halves to even
            weights = weights[first + torch.arange(self.size)]
        return weights, precise

    def _filter(self, away: Tensor) -> Tensor:
        if not self.cubic:
            return (1 - away).clamp(min=0)
        near, far = (1.5 * away - 2.5) * away**2 + 1, ((-0.5 * away + 2.5) * away - 4) * away + 2
        return torch.where(away < 1, near, torch.where(away < 2, far, 0))


def _resized(levels: Tensor, weights: Tensor, divisor: Tensor) -> Tensor:
    """Levels (..., length) in another length S, float32 (..., S).

    Two products of float32, with the upper and the lower half of each weight, are exact where one would be rounded.
    """
    upper = (weights / _HALF).floor()
    high, low = (torch.matmul(levels.float(), half.float().T).double() for half in (upper, weights - _HALF * upper))
    return ((_HALF * high + low) / divisor + 0.5).floor().clamp(0, 255).float()
