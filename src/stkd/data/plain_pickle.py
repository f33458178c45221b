"""Reading pickles of containers and numpy arrays, and of nothing else, so that no pickle can run code."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.pickles import BoundedUnpickler

__all__ = ["load_plain"]


def load_plain(content: bytes) -> Any:
    """Unpickle containers, numbers, strings and numpy arrays.

    Args:
        content: A pickle, of Python 2 (whose strings become bytes) or 3.

    Raises:
        pickle.UnpicklingError: It is broken, or names anything else, which is then not called.
    """
    try:
        return _PlainUnpickler(io.BytesIO(content), encoding="bytes").load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a broken pickle raises nearly anything
        raise pickle.UnpicklingError(f"broken pickle ({type(error).__name__})") from None


def _empty_array(*_: object) -> NDArray[np.uint8]:
    """Stands in for numpy's `_reconstruct`: the array gets its shape, type and bytes from the state that follows."""
    return np.empty(0, np.uint8)


def _latin1(text: str, encoding: str) -> bytes:
    """Stands in for `_codecs.encode`, by which Python 3 writes bytes in protocol 2."""
    if encoding != "latin1":
        raise pickle.UnpicklingError("bytes in an unexpected encoding")
    return text.encode("latin1")


def _empty_bytes() -> bytes:
    """Stands in for `bytes`, by which Python 3 writes an empty one in protocol 2."""
    return b""


class _Placeholder:
    """Stands in for `numpy.ndarray`, which pickles only name as an argument."""


_ADMITTED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _empty_array,
    ("numpy._core.multiarray", "_reconstruct"): _empty_array,
    ("numpy", "ndarray"): _Placeholder,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _empty_bytes,
}


class _PlainUnpickler(BoundedUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which data has no need of") from None
