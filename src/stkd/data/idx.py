"""The IDX format of MNIST and its successors."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import StkdError

__all__ = ["read_idx"]

UINT8 = 0x08


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
    try:
        content = path.read_bytes()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise StkdError(f"{path} is a broken gzip file; fetch it again") from None
    except OSError as error:
        raise StkdError(f"{path} cannot be read ({error.strerror}); check the file and its permissions") from None
    start = 4 + 4 * dimensions
    if content[:2] != b"\0\0" or len(content) < start:
        raise StkdError(f"{path} is no IDX file; fetch it again")
    if content[2:4] != bytes((UINT8, dimensions)):
        raise StkdError(f"{path} holds other data than {dimensions}-dimensional bytes; is it in place of another file?")
    shape = np.frombuffer(content, ">u4", dimensions, offset=4).astype(np.int64)
    expected = int(np.prod(shape))
    if len(content) - start != expected:
        raise StkdError(
            f"{path} has {len(content) - start} bytes of data where its header says {expected}; fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
