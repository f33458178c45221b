"""Random images, whose content does not matter for time."""

from __future__ import annotations

import numpy as np

from ...data import DataSet, Split
from ...data.image_arrays import augment_for

__all__ = ["random_data"]

_MEAN = _STD = (0.5, 0.5, 0.5)


def random_data(images: int, size: int, classes: int) -> DataSet:
    """Noise with labels, of the shape of a data set; (images, 3, size, size) in memory."""
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (images, 3, size, size), np.uint8), rng.integers(0, classes, images))
    names = tuple(str(c) for c in range(classes))
    return DataSet("random", names, 3, size, _MEAN, _STD, augment_for(size), split, None, None, "random")
