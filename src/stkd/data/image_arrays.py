"""Arrays of equal square images: resizing, and the augmentation that suits their size."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.errors import StkdError
from .base import Augment
from .decode import resize_square

__all__ = ["STORE_LIMIT", "augment_for", "resize_images"]

STORE_LIMIT = 2 << 30
"""Largest decoded set, in bytes, that is stored as one array."""

CHUNK = 1024


def augment_for(size: int) -> Augment:
    """Training augmentation that suits images of this side: shifts up to 64 pixels, random-resized crops above."""
    if size > 64:
        return "resized"
    return "crop8" if size > 40 else "crop4"


def resize_images(images: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    """Bring an array of images to another side.

    Args:
        images: uint8 (N, C, H, W).
        size: Side in pixels; None leaves the images as they are.

    Returns:
        uint8 (N, C, size, size).

    Raises:
        StkdError: The result would not fit `STORE_LIMIT`.
    """
    if size is None or images.shape[2:] == (size, size):
        return images
    count, channels = images.shape[:2]
    if count * channels * size * size > STORE_LIMIT:
        largest = int((STORE_LIMIT / (count * channels)) ** 0.5)
        raise StkdError(f"{count} images do not fit memory at image_size {size}; use at most {largest}")
    out = np.empty((count, channels, size, size), np.uint8)
    for start in range(0, count, CHUNK):
        chunk = torch.from_numpy(np.array(images[start : start + CHUNK]))
        out[start : start + CHUNK] = resize_square(chunk, size).numpy()
    return out
