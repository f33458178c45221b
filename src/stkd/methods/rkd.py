"""Relational knowledge distillation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .. import losses
from .base import Method, View, methods

__all__ = ["RKD"]


@methods.register("rkd", "distances and angles between samples", "Park et al., RKD, CVPR 2019")
@dataclass(frozen=True, kw_only=True)
class RKD(Method):
    """Distances between pairs and angles of triplets of pooled features must match.

    Attributes:
        weight: Weight of the loss, the CRD benchmark's.
    """

    needs = frozenset({"pooled"})
    weight: float = 1.0

    def losses(self, view: View) -> dict[str, Tensor]:
        loss = losses.rkd(view.student_features.pooled, view.teacher_features.pooled)
        return {"rkd": self.weight * loss}
