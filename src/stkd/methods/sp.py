"""Similarity-preserving distillation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .. import losses
from .base import Method, View, methods

__all__ = ["SP"]


@methods.register("sp", "similarities between the samples of a batch, last stage", "Tung and Mori, SP, ICCV 2019")
@dataclass(frozen=True, kw_only=True)
class SP(Method):
    """The B x B similarities of the last stage must match.

    Attributes:
        weight: Weight of the loss, the CRD benchmark's.
    """

    needs = frozenset({"stages"})
    weight: float = 3000.0

    def losses(self, view: View) -> dict[str, Tensor]:
        loss = losses.sp(view.student_features.stages[-1], view.teacher_features.stages[-1])
        return {"sp": self.weight * loss}
