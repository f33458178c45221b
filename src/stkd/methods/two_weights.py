"""Methods with a weight of the distillation term and one of the labels."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.errors import StkdError
from .base import Method

__all__ = ["TwoWeights"]


@dataclass(frozen=True, kw_only=True)
class TwoWeights(Method):
    """A distillation term beside the cross-entropy.

    Attributes:
        weight: w of the distillation term; the labels get 1 - w, unless `ce` is given.
        ce: Weight of the cross-entropy, where it is not 1 - w.
    """

    weight: float = 0.9
    ce: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ce is None and self.weight > 1:
            raise StkdError(
                f"weight must lie between 0 and 1, got {self.weight}; a larger one needs ce, the weight of the labels"
            )

    @property
    def label_weight(self) -> float:
        return 1 - self.weight if self.ce is None else self.ce
