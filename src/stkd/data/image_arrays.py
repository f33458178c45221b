"""Arrays of equal square images: resizing, and the augmentation that suits their size."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ..core.errors import StkdError
from .base import Augment, Interpolation
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


def resize_images(
    images: NDArray[np.uint8],
    size: int | None,
    *,
    crop_pct: float = 1.0,
    interpolation: Interpolation = "bilinear",
) -> NDArray[np.uint8]:
    """Bring an array of images to another side.

    Args:
        images: uint8 (N, C, H, W).
        size: Side in pixels; None is that of the images.
        crop_pct, interpolation: How, see `decode.resize_square`.

    Returns:
        uint8 (N, C, size, size).

    Raises:
        StkdError: The result would not fit `STORE_LIMIT`.
    """
    size = images.shape[-1] if size is None else size
    if images.shape[2:] == (size, size) and crop_pct == 1:
        return images
    count, channels = images.shape[:2]
    if count * channels * size * size > STORE_LIMIT:
        largest = int((STORE_LIMIT / (count * channels)) ** 0.5)
        raise StkdError(f"{count} images do not fit memory at image_size {size}; use at most {largest}")
    out = np.empty((count, channels, size, size), np.uint8)
    for start in range(0, count, CHUNK):
        chunk = torch.from_numpy(np.array(images[start : start + CHUNK]))
        out[start : start + CHUNK] = resize_square(chunk, size, crop_pct, interpolation).numpy()
    return out
