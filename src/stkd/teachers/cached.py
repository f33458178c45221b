"""A teacher that answers from a cache of its logits; there is no model behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..core.errors import StkdError
from ..data.loader import Batch
from .cache import Header, map_shard, shard_file, unpack

__all__ = ["CachedTeacher"]


class CachedTeacher:
    """Answers for the batches that a cache was made of.

    Args:
        folder: The cache.
        header: Its header.
        device: Where its logits are wanted.
        cycle: Epochs of it to use, over and over.

    Raises:
        StkdError: The cache is not complete.
    """

    def __init__(self, folder: Path, header: Header, device: torch.device, *, cycle: int) -> None:
        self.folder, self.header, self.device, self.cycle = folder, header, device, cycle
        self.classes = header.classes
        self.record: list[dict[str, Any]] = []
        self._open: tuple[int, NDArray[np.void]] | None = None
        missing = sum(not shard_file(folder, epoch).is_file() for epoch in range(cycle))
        if missing:
            raise StkdError(
                f"{folder} is not complete: {missing} of {cycle} epochs are missing; run its 'stkd cache' command again"
            )

    @property
    def name(self) -> str:
        return self.header.teacher_name

    def fingerprint(self) -> str:
        return self.header.teacher

    def __call__(self, batch: Batch) -> Tensor:
        record = self._shard(batch.epoch % self.cycle)[batch.step]
        return unpack(record, len(self.header.classes), self.device)

    def _shard(self, epoch: int) -> NDArray[np.void]:
        if self._open is None or self._open[0] != epoch:
            self._open = epoch, map_shard(self.folder, epoch, self.header)
        return self._open[1]
