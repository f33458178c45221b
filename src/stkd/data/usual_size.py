"""The side of the squares that image files become where the user names none."""

from __future__ import annotations

import numpy as np

from .base import ImageFiles
from .decode import pixel_size
from .decoded_cache import cached
from .digest import digest_images, fingerprint

__all__ = ["DEFAULT_SIZE", "SMALL", "usual_size"]

DEFAULT_SIZE = 224
SMALL = 64
"""Equal squares of up to this side keep it."""


def usual_size(files: ImageFiles) -> int:
    """The images' own side where all are equal small squares, otherwise the default; broken files do not count."""
    first = next((size for file in files if (size := pixel_size(file)) is not None), None)
    if first is None or first[0] != first[1] or not 8 <= first[0] <= SMALL:
        return DEFAULT_SIZE

    def all_equal() -> bool:
        return all(pixel_size(file) in (first, None) for file in files)

    key = fingerprint(digest_images(files), question="all equal but broken ones")
    stored = cached(key, ("equal",), lambda: {"equal": np.array([all_equal()])})
    return first[0] if stored["equal"][0] else DEFAULT_SIZE
