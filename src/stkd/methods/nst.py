"""Neuron selectivity transfer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .. import losses
from .base import Method, View, methods

__all__ = ["NST"]


@methods.register("nst", "distribution of activation patterns", "Huang and Wang, NST, arXiv 1707.01219, 2017")
@dataclass(frozen=True, kw_only=True)
class NST(Method):
    """Maximum mean discrepancy between the channels' activation patterns.

    Attributes:
        weight: Weight of the loss, the CRD benchmark's.
    """

    needs = frozenset({"stages"})
    weight: float = 50.0

    def losses(self, view: View) -> dict[str, Tensor]:
        loss = losses.nst(view.student_features.blocks, view.teacher_features.blocks)
        return {"nst": self.weight * loss}
