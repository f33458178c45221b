"""Multi-level logit distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .. import losses
from .base import Method, View, methods

__all__ = ["MLKD"]


@methods.register("mlkd", "predictions of instances, batches and classes", "Jin et al., MLKD, CVPR 2023")
@dataclass(frozen=True, kw_only=True)
class MLKD(Method):
    """KD at several temperatures, and the similarities between samples and between classes.

    Attributes:
        weight: Weight of the three levels together.
        temperatures: Of the instance level, as published; the other levels take the middle one.
        standardize: Z-score the logits first.
    """

    weight: float = 1.0
    temperatures: ClassVar[tuple[float, ...]] = (2.0, 3.0, 4.0, 5.0, 6.0)
    standardize: bool = False

    def losses(self, view: View) -> dict[str, Tensor]:
        student, teacher = view.student, view.taught
        instance = [losses.kd(student, teacher, temperature=t, standardize=self.standardize) for t in self.temperatures]
        middle: dict[str, Any] = {
            "temperature": self.temperatures[len(self.temperatures) // 2],
            "standardize": self.standardize,
        }
        return {
            "instance": self.weight * torch.stack(instance).mean(),
            "batch": self.weight * losses.mlkd_batch(student, teacher, **middle),
            "class": self.weight * losses.mlkd_class(student, teacher, **middle),
        }
