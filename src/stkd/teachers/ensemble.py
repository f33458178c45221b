"""Several teachers that answer as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..core.errors import StkdError
from ..data.digest import fingerprint
from ..data.loader import Batch
from .live import LiveTeacher

__all__ = ["Ensemble"]


class Ensemble:
    """The weighted mean of the logits of several models.

    Args:
        teachers: Two or more, for the same classes.
        shares: Their weights, in the same order; None gives all the same. They are scaled to sum to one.

    Raises:
        StkdError: The weights do not fit.
    """

    def __init__(self, teachers: Sequence[LiveTeacher], shares: Sequence[float] | None = None) -> None:
        shares = shares or [1.0] * len(teachers)
        if len(shares) != len(teachers) or min(shares) <= 0:
            raise StkdError(f"{len(teachers)} teachers need as many positive shares, got {list(shares)}")
        self.teachers = list(teachers)
        self.shares = [share / sum(shares) for share in shares]
        self.classes = teachers[0].classes

    @property
    def name(self) -> str:
        return " and ".join(teacher.name for teacher in self.teachers)

    @property
    def record(self) -> list[dict[str, Any]]:
        return [entry for teacher in self.teachers for entry in teacher.record]

    def fingerprint(self) -> str:
        return fingerprint([teacher.fingerprint() for teacher in self.teachers], self.shares)

    def __call__(self, batch: Batch) -> Tensor:
        return self._mean([teacher(batch) for teacher in self.teachers])

    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, C) of images (B, C, H, W) that are normalised as the data set says."""
        return self._mean([teacher.logits(images) for teacher in self.teachers])

    def _mean(self, logits: Sequence[Tensor]) -> Tensor:
        return torch.stack([share * one for share, one in zip(self.shares, logits, strict=True)]).sum(0)
