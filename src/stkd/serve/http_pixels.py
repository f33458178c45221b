"""What the model sees of an image that was sent, within limits of memory."""

from __future__ import annotations

import contextlib
import os
import threading

from torch import Tensor

from ..core.errors import StkdError
from ..data.decode import decode_square, open_image
from ..models.files import ModelInfo

__all__ = ["cores", "pixels_of"]

_LARGE = 16_000_000  # pixels; of such images one is decoded at a time, which bounds the memory
_turn = threading.Lock()


def pixels_of(content: bytes, info: ModelInfo, most: int) -> Tensor | str:
    """The pixels that evaluation would see of an image file.

    Args:
        content: Content of the file.
        info: What the model expects of images.
        most: Pixels of the whole image that are allowed.

    Returns:
        uint8 (C, S, S), or in words that follow the image's name why there are none.
    """
    try:
        image = open_image(content)
        if image.height * image.width > most:
            return f"has more than {most // 1_000_000} million pixels; scale it down"
        with _turn if image.height * image.width > _LARGE else contextlib.nullcontext():
            return decode_square(content, info.channels, info.size, info.crop_pct, info.interpolation)
    except StkdError as error:
        return str(error).removeprefix("the image ")


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
