"""The side of the squares that image files become where the user names none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .decode import pixel_size
from .decoded_cache import cached
from .digest import digest_files, fingerprint

__all__ = ["DEFAULT_SIZE", "SMALL", "usual_size"]

DEFAULT_SIZE = 224
SMALL = 64
"""Equal squares of up to this side keep it."""


def usual_size(root: Path, names: Sequence[str]) -> int:
    """The images' own side where all are equal small squares, otherwise the default; broken files do not count."""
    first = next((size for name in names if (size := pixel_size(root / name)) is not None), None)
    if first is None or first[0] != first[1] or not 8 <= first[0] <= SMALL:
        return DEFAULT_SIZE

    def all_equal() -> bool:
        return all(pixel_size(root / name) in (first, None) for name in names)

    key = fingerprint(digest_files(root, names), question="all equal but broken ones")
    stored = cached(key, ("equal",), lambda: {"equal": np.array([all_equal()])})
    return first[0] if stored["equal"][0] else DEFAULT_SIZE
