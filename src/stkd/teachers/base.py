"""What a teacher is to a training: a source of logits."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor

from ..data.loader import Batch

__all__ = ["Teacher"]


class Teacher(Protocol):
    """A source of logits, already on its device; it is never trained and never part of a checkpoint."""

    @property
    def name(self) -> str:
        """Name of its model, or of its models."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, position = logit."""

    @property
    def record(self) -> list[dict[str, Any]]:
        """How each of its models is run (precision, engine); empty where no model is run."""

    def fingerprint(self) -> str:
        """Hex digest of all that its logits depend on but the images."""

    def __call__(self, batch: Batch) -> Tensor:
        """Logits of a training batch: of the images that this process has, or where none are needed of all (R, C)."""
