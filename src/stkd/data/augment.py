"""Training augmentation of whole batches, from random numbers that were drawn before."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .base import Augment

__all__ = ["resized_boxes", "resized_crop", "shifted", "shifts"]

_PAD = {"crop4": 4, "crop8": 8}
_SCALE = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)


def shifted(images: Tensor, index: Tensor, kind: Augment, crop: Tensor, flip: Tensor) -> Tensor:
    """Images padded with black, cropped and mirrored, or as they are: out of a whole set on a CPU.

    Args:
        images: uint8 (N, H, W, C), contiguous.
        index: int64 (B,), which images.
        kind: Which augmentation, but not "resized".
        crop: float32 (B, 4), uniform in [0, 1).
        flip: bool (B,), which images to mirror.

    Returns:
        uint8 (B, H, W, C).
    """
    if kind == "none":
        return images.flatten(1).index_select(0, index).view(-1, *images.shape[1:])  # rows are copied fastest
    y, x = shifts(kind, crop).numpy().T
    out = _rows(images.numpy(), index.numpy(), y, x)
    _, height, width, channels = out.shape
    row, column = np.arange(height) + y[:, None], np.arange(width) + x[:, None]
    out[(row < 0) | (row >= height)] = 0
    inside = ((column >= 0) & (column < width)).repeat(channels, axis=1)[:, None]
    lines = out.reshape(len(out), height, -1)
    np.multiply(lines, inside, out=lines)
    pixels, mirrored = _items(out, channels).reshape(out.shape[:3]), flip.numpy().nonzero()[0]
    pixels[mirrored] = pixels[mirrored, :, ::-1]
    return torch.from_numpy(out)


def _rows(
    images: NDArray[np.uint8], index: NDArray[np.int64], y: NDArray[np.int64], x: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Images moved up by y and left by x; what comes in from outside is arbitrary.

    A moved row is as many bytes as a row, beginning at some pixel of the set, so that one item is copied for each row.
    """
    count, height, width, channels = images.shape
    row = (np.arange(height) + y[:, None]).clip(0, height - 1)
    start = (index[:, None] * height + row) * width + x[:, None]
    inside = start.clip(0, (count * height - 1) * width)
    lines: NDArray[np.void] = _items(images, width * channels, step=channels)[inside]
    out = lines.view(np.uint8).reshape(len(index), *images.shape[1:])
    for image, line in np.argwhere(start != inside):  # the first row of the set moved right, the last moved left
        out[image, line] = np.roll(out[image, line], inside[image, line] - start[image, line], axis=0)
    return out


def _items(memory: NDArray[np.uint8], size: int, step: int | None = None) -> NDArray[np.void]:
    """Every run of `size` bytes in a contiguous array, beginning every `step` bytes: copied as one."""
    step = size if step is None else step
    count = (memory.size - size) // step + 1
    return np.ndarray((count,), f"V{size}", buffer=memory, strides=(step,))


def shifts(kind: Augment, crop: Tensor) -> Tensor:
    """Rows and columns (B, 2), int64, by which a kind of augmentation that shifts moves images up and left."""
    return (crop[:, :2] * (2 * _PAD[kind] + 1)).long() - _PAD[kind]


def resized_boxes(crop: Tensor, height: int | Tensor, width: int | Tensor) -> Tensor:
    """Boxes of random-resized-crop (Szegedy et al., 2015) in closed form, without its rejection loop.

    The area is uniform in 8 % to 100 % of the image, the logarithm of the aspect ratio uniform between 3/4 and 4/3; a
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
