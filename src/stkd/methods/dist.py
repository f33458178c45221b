"""DIST: distillation from a stronger teacher."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .. import losses
from .base import Method, View, methods

__all__ = ["DIST"]


@methods.register("dist", "correlation instead of equality of predictions", "Huang et al., DIST, NeurIPS 2022")
@dataclass(frozen=True, kw_only=True)
class DIST(Method):
    """Pearson's correlation of predictions, between classes and within each class.

    Attributes:
        temperature: T, as published for CIFAR-100.
        beta: Weight between classes, likewise.
        gamma: Weight within classes, likewise.
        standardize: Z-score the logits first.
    """

    temperature: float = 4.0
    beta: float = 2.0
    gamma: float = 2.0
    standardize: bool = False

    def losses(self, view: View) -> dict[str, Tensor]:
        loss = losses.dist(
            view.student,
            view.taught,
            beta=self.beta,
            gamma=self.gamma,
            temperature=self.temperature,
            standardize=self.standardize,
        )
        return {"dist": loss}
