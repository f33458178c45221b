"""The IDX format of MNIST and its successors."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import StkdError

__all__ = ["read_idx"]

UINT8 = 0x08
_MOST_BYTES = 1 << 30  # of data; the published files have at most 47 MB


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read an IDX file of bytes, compressed by gzip or not.

    Args:
        path: The file.
        dimensions: How many dimensions it must have: 1 for labels, 3 for images.

    Returns:
        uint8 array, read-only.

    Raises:
        StkdError: It cannot be read, is no IDX file of bytes, or is longer or shorter than its header says.
    """
    start = 4 + 4 * dimensions
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            with gzip.open(raw) if packed else raw as file:
                head = file.read(start)
                shape = _shape(path, head, dimensions)
                size, held = math.prod(shape), path.stat().st_size
                # of a byte, gzip makes at most 1,032; so a header cannot ask for memory that the file does not fill
                if size > (most := min(_MOST_BYTES, held * 1032 if packed else held - start)):
                    most_words = "at most " if packed or most == _MOST_BYTES else ""
                    raise StkdError(
                        f"{path} has {most_words}{most} bytes of data where its header says {size}; fetch it again"
                    )
                content = file.read(size + 1)  # never more than that of a file that goes on for ever
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise StkdError(f"{path} is a broken gzip file; fetch it again") from None
    except OSError as error:
        raise StkdError(f"{path} cannot be read ({error.strerror}); check the file and its permissions") from None
    if len(content) != size:
        found = held - start if not packed else len(content) if len(content) < size else f"more than {size}"
        raise StkdError(f"{path} has {found} bytes of data where its header says {size}; fetch it again")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _shape(path: Path, head: bytes, dimensions: int) -> tuple[int, ...]:
    """The dimensions in a header, each of them 1 or more."""
    if head[:2] != b"\0\0" or len(head) < 4 + 4 * dimensions:
        raise StkdError(f"{path} is no IDX file; fetch it again")
    if head[2:4] != bytes((UINT8, dimensions)):
        raise StkdError(f"{path} holds other data than {dimensions}-dimensional bytes; is it in place of another file?")
    shape = struct.unpack(f">{dimensions}I", head[4:])
    if 0 in shape:
        raise StkdError(f"{path} is empty: its header says {' x '.join(map(str, shape))}; fetch it again")
    return shape
