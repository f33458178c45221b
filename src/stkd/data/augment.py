"""Training augmentation of a whole batch at once, from numbers drawn before."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import Augment

__all__ = ["augment", "resized_boxes"]

_PAD = {"crop4": 4, "crop8": 8}
_SCALE = (0.25, 1.0)
_RATIO = (3 / 4, 4 / 3)


def augment(images: Tensor, kind: Augment, crop: Tensor, flip: Tensor) -> Tensor:
    """Crop and flip a batch.

    Args:
        images: uint8 (B, C, H, W).
        kind: Which augmentation.
        crop: float32 (B, 4), uniform in [0, 1).
        flip: bool (B,), which images to mirror.

    Returns:
        float32 (B, C, H, W), still on the scale 0..255.
    """
    if kind == "none":
        return images.float()
    if kind == "resized":
        return _resized_crop(images, crop, flip)
    pad = _PAD[kind]
    shift = (crop[:, :2] * (2 * pad + 1)).long()
    windows = F.pad(images, [pad] * 4).unfold(2, images.shape[2], 1).unfold(3, images.shape[3], 1)
    rows = torch.arange(len(images), device=images.device)
    cropped = windows[rows, :, shift[:, 0], shift[:, 1]]
    return torch.where(flip.view(-1, 1, 1, 1), cropped.flip(3), cropped).float()


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


def _resized_crop(images: Tensor, crop: Tensor, flip: Tensor) -> Tensor:
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
