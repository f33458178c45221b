"""Files that take whole pictures, in the place of those that take squares."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from ..core.errors import StkdError
from ..data.base import Split
from ..data.decode import decode
from ..models.files import ModelInfo
from .format import Opened, Run

__all__ = ["answers_of", "in_order", "pictures_of"]

Picture = NDArray[np.uint8]
"""One picture (H, W, C)."""


def pictures_of(split: Split, info: ModelInfo) -> Iterator[Picture]:
    """The whole pictures of a split, in order; its files are decoded in full.

    Raises:
        StkdError: A file cannot be decoded, or only squares are there, and they are cut out of something else.
    """
    if split.files is not None:
        files = split.files
        return (decode(file, info.channels).permute(1, 2, 0).contiguous().numpy() for file in files)
    if info.crop_pct != 1:
        raise StkdError(
            f"only the squares of these images are there, of which the file would show {info.crop_pct:.1%}; "
            "give --data folder:PATH"
        )
    return (np.ascontiguousarray(image.transpose(1, 2, 0)) for image in split.images)  # type: ignore[union-attr]


def in_order(whole: Callable[[Picture], NDArray[np.float32]], pictures: Iterable[Picture]) -> Run:
    """Answers to squares that come in the order of their pictures: those to the pictures.

    Args:
        whole: Answers to one picture.
        pictures: All that will be asked for.
    """
    left = iter(pictures)
    return lambda squares: np.concatenate([whole(picture) for picture in islice(left, len(squares))])


def answers_of(opened: Opened, split: Split) -> Run:
    """How a file answers the squares of a split, shown once and in order."""
    if opened.whole is None:
        return opened.run
    return in_order(opened.whole, pictures_of(split, opened.contract.info))
