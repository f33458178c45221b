"""Probabilistic knowledge transfer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .. import losses
from .base import Method, View, methods

__all__ = ["PKT"]


@methods.register("pkt", "neighbourhood probabilities of samples", "Passalis and Tefas, PKT, ECCV 2018")
@dataclass(frozen=True, kw_only=True)
class PKT(Method):
    """Conditional probabilities of being neighbours, by cosine, must match.

    Attributes:
        weight: Weight of the loss, the CRD benchmark's.
    """

    needs = frozenset({"pooled"})
    weight: float = 30000.0

    def losses(self, view: View) -> dict[str, Tensor]:
        loss = losses.pkt(view.student_features.pooled, view.teacher_features.pooled)
        return {"pkt": self.weight * loss}
