"""Buffers for batches on the CPU that are reused once no tensor refers to them."""

from __future__ import annotations

import math
import weakref

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["BatchMemory"]

_ALIGNMENT = 64  # bytes


class BatchMemory:
    """A pool of float32 buffers.

    Every new large tensor is made of new memory pages, and the operating system takes longer to clear these than a
    batch of 224 x 224 pixels takes to compute. A buffer is free again when the last tensor that shares its storage is
    deleted, so that a batch that is kept stays unchanged.

    Args:
        at_once: Batches that are made together. Two more buffers are kept: for the batch in use, and for one that
            autograd may still refer to.
    """

    def __init__(self, at_once: int = 1) -> None:
        self._kept = at_once + 2
        self._buffers: list[tuple[NDArray[np.float32], weakref.ref[NDArray[np.float32]]]] = []

    def take(self, *shape: int) -> Tensor:
        """An uninitialised tensor of this shape."""
        size = math.prod(shape)
        free = (i for i, (buffer, shown) in enumerate(self._buffers) if buffer.size == size and shown() is None)
        place = next(free, None)
        buffer = _aligned(size) if place is None else self._buffers[place][0]
        view = buffer[:]  # the storage of the tensor owns this object, which therefore lives as long as that
        if place is not None:
            self._buffers[place] = (buffer, weakref.ref(view))
        elif len(self._buffers) < self._kept:
            self._buffers.append((buffer, weakref.ref(view)))
        return torch.from_numpy(view).view(shape)


def _aligned(size: int) -> NDArray[np.float32]:
    """New memory that begins where torch's own does: by their last digits, convolutions depend on that."""
    spare = np.empty(size + _ALIGNMENT // 4, np.float32)
    start = -spare.ctypes.data % _ALIGNMENT // 4
    return spare[start : start + size]
