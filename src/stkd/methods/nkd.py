"""Normalised knowledge distillation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .. import losses
from .base import Method, View, methods

__all__ = ["NKD"]


@methods.register("nkd", "target and normalised non-target classes", "Yang et al., NKD, ICCV 2023")
@dataclass(frozen=True, kw_only=True)
class NKD(Method):
    """The target's probability and the normalised others, apart.

    Attributes:
        temperature: T of the non-target part, the authors' for CIFAR-100 (ImageNet: 1).
        gamma: Weight of the non-target part, likewise (ImageNet: 1.5).
        standardize: Z-score the logits first.
    """

    temperature: float = 3.0
    gamma: float = 3.5
    standardize: bool = False

    @property
    def looks_at_labels(self) -> bool:
        return True

    def losses(self, view: View) -> dict[str, Tensor]:
        loss = losses.nkd(
            view.student,
            view.taught,
            view.batch.targets,
            gamma=self.gamma,
            temperature=self.temperature,
            standardize=self.standardize,
        )
        return {"nkd": loss}
