"""Training augmentation of a whole batch at once, from numbers drawn before."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .base import Augment

__all__ = ["resized_boxes", "resized_crop", "shifted", "shifts"]

_PAD = {"crop4": 4, "crop8": 8}
_SCALE = (0.25, 1.0)
_RATIO = (3 / 4, 4 / 3)


def shifted(images: Tensor, index: Tensor, kind: Augment, crop: Tensor, flip: Tensor) -> Tensor:
    """Images padded with black, cropped and mirrored, or as they are: out of a whole set on a CPU.

    Args:
        images: uint8 (N, H, W, C).
        index: int64 (B,), which images.
        kind: Which augmentation, but not "resized".
        crop: float32 (B, 4), uniform in [0, 1).
        flip: bool (B,), which images to mirror.

    Returns:
        uint8 (B, H, W, C).
    """
    if kind == "none":
        return images.flatten(1).index_select(0, index).view(-1, *images.shape[1:])  # rows are copied fastest
    _, height, width, _ = images.shape
    source, out = images.numpy(), np.zeros((len(index), *images.shape[1:]), np.uint8)
    starts = shifts(kind, crop).tolist()
    for row, i, (y, x), mirror in zip(out, index.tolist(), starts, flip.tolist(), strict=True):
        target = row[:, ::-1] if mirror else row
        inside = source[i, max(0, y) : height + y, max(0, x) : width + x]
        top, left = max(0, -y), max(0, -x)
        target[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return torch.from_numpy(out)


def shifts(kind: Augment, crop: Tensor) -> Tensor:
    """Rows and columns (B, 2), int64, by which a kind of augmentation that shifts moves images up and left."""
    return (crop[:, :2] * (2 * _PAD[kind] + 1)).long() - _PAD[kind]


def resized_boxes(crop: Tensor, height: int | Tensor, width: int | Tensor) -> Tensor:
    """Boxes of random-resized-crop (Szegedy et al., 2015) in closed form, without its rejection loop.

    The area is uniform in 25 % to 100 % of the image, the logarithm of the aspect ratio uniform between 3/4 and 4/3; a
    box that would stick out is shrunk, keeping its ratio.

    Args:
        crop: float32 (B, 4), uniform in [0, 1): area, ratio, vertical and horizontal place.
        height, width: Of the images, in pixels.

    Returns:
        float32 (B, 4): top, left, height, width in pixels.
    """
    low, high = _SCALE
    area = (low + (high - low) * crop[:, 0]) * height * width
    ratio = torch.exp(math.log(_RATIO[0]) + (math.log(_RATIO[1]) - math.log(_RATIO[0])) * crop[:, 1])
    box_w, box_h = (area * ratio).sqrt(), (area / ratio).sqrt()
    fit = torch.minimum(width / box_w, height / box_h).clamp_max(1)
    box_w, box_h = box_w * fit, box_h * fit
    return torch.stack([crop[:, 2] * (height - box_h), crop[:, 3] * (width - box_w), box_h, box_w], dim=1)


def resized_crop(images: Tensor, crop: Tensor, flip: Tensor) -> Tensor:
    """Random-resized-crops of a batch, mirrored.

    Args:
        images: uint8 (B, C, H, W).
        crop: float32 (B, 4), as for `resized_boxes`.
        flip: bool (B,), which images to mirror.

    Returns:
        float32 (B, C, H, W), still on the scale 0..255.
    """
    height, width = images.shape[2:]
    top, left, box_h, box_w = resized_boxes(crop, height, width).unbind(1)
    sign = torch.where(flip, -1.0, 1.0)
    zero = torch.zeros_like(top)
    # grid_sample's coordinates run from -1 to 1 over the image
    theta = torch.stack(
        [
            torch.stack([sign * box_w / width, zero, (2 * left + box_w) / width - 1], dim=1),
            torch.stack([zero, box_h / height, (2 * top + box_h) / height - 1], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="reflection", align_corners=False)
