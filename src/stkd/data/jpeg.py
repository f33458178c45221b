"""Ordinary colour JPEGs through simplejpeg (libjpeg-turbo), which gives Pillow's pixels in less time."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

__all__ = ["decode_jpeg", "jpeg_size"]

_APP1, _START_OF_SCAN = 0xE1, 0xDA
_ORIENTATION = 0x0112


def jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Height and width of a JPEG that this decoder takes: RGB or grey, upright. None for everything else.

    Args:
        content: Of the whole file.
    """
    if simplejpeg is None or content[:2] != b"\xff\xd8":
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError:
        return None
    return (height, width) if colours in ("YCbCr", "RGB", "Gray") and _upright(content) else None


def decode_jpeg(content: bytes, height: int, width: int, factor: int) -> NDArray[np.uint8] | None:
    """Pixels (H, W, 3), or None for a file that is not quite right.

    Args:
        content: Of a file that `jpeg_size` takes.
        height, width: Its size.
        factor: 1, 2, 4 or 8; the result has that part of the sides, rounded up.
    """
    try:
        found: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            content, "RGB", min_height=-(-height // factor), min_width=-(-width // factor), min_factor=factor
        )
    except ValueError:
        return None
    return found


def _upright(content: bytes) -> bool:
    """Whether no EXIF or XMP record asks for a rotation; only a file that has such a record is given to Pillow."""
    if _APP1 not in _markers(content):
        return True
    try:
        with Image.open(BytesIO(content), formats=["JPEG", "MPO"]) as image:
            return bool(image.getexif().get(_ORIENTATION, 1) == 1)
    except Exception:  # whatever is wrong, Pillow shall say it about the file
        return False


def _markers(content: bytes) -> Iterator[int]:
    """Types of the segments before the pixels."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] != _START_OF_SCAN:
        yield content[at + 1]
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
