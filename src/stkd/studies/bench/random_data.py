"""Random images, whose content does not matter for time."""

from __future__ import annotations

import numpy as np

from ...data import DataSet, Split
from ...data.image_arrays import augment_for

__all__ = ["random_data"]


def random_data(images: int, size: int, classes: int | tuple[str, ...], channels: int = 3) -> DataSet:
    """Noise with labels, of the shape of a data set; (images, channels, size, size) in memory.

    Args:
        images: Their number.
        size: Side in pixels.
        classes: Their number or names.
        channels: Of the images.
    """
    names = tuple(map(str, range(classes))) if isinstance(classes, int) else classes
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (images, channels, size, size), np.uint8), rng.integers(0, len(names), images))
    half = (0.5,) * channels
    return DataSet("random", names, channels, size, half, half, augment_for(size), split, None, None, "random")
