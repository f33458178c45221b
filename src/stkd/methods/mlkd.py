"""Multi-level logit distillation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .. import losses
from .base import Method, View, check_share, methods

__all__ = ["MLKD"]


@methods.register("mlkd", "predictions of instances, batches and classes", "Jin et al., MLKD, CVPR 2023")
@dataclass(frozen=True, kw_only=True)
class MLKD(Method):
    """KD, and the similarities between samples and between classes, each summed over several temperatures.

    The authors' code also shows every image strongly augmented, and multiplies terms that are reduced already by a
    mask, which halves them; there is one view of an image here, and no mask. The level of classes grows with the square
    of the images per class in a batch: where classes are few, take a smaller weight or rate (the authors': 0.025).

    Attributes:
        weight: w of the three levels together, as published; the labels get 1 - w.
        temperatures: As published.
        standardize: Z-score the logits first.
    """

    weight: float = 0.9
    temperatures: ClassVar[tuple[float, ...]] = (2.0, 3.0, 4.0, 5.0, 6.0)
    standardize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("weight", self.weight)

    @property
    def label_weight(self) -> float:
        return 1 - self.weight

    def losses(self, view: View) -> dict[str, Tensor]:
        levels = {"instance": losses.kd, "batch": losses.mlkd_batch, "class": losses.mlkd_class}
        return {
            name: self.weight * torch.stack([self._at(level, t, view) for t in self.temperatures]).sum()
            for name, level in levels.items()
        }

    def _at(self, level: Callable[..., Tensor], temperature: float, view: View) -> Tensor:
        return level(view.student, view.taught, temperature=temperature, standardize=self.standardize)
