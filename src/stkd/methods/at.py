"""Attention transfer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .. import losses
from .base import Method, View, methods

__all__ = ["AT"]


@methods.register("at", "attention maps of the stages", "Zagoruyko and Komodakis, AT, ICLR 2017")
@dataclass(frozen=True, kw_only=True)
class AT(Method):
    """Maps of mean squared activation must match.

    Attributes:
        weight: Weight of the loss, the CRD benchmark's.
    """

    needs = frozenset({"stages"})
    weight: float = 1000.0

    def losses(self, view: View) -> dict[str, Tensor]:
        loss = losses.at(view.student_features.blocks, view.teacher_features.blocks)
        return {"at": self.weight * loss}
