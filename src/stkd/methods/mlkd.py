"""Multi-level logit distillation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from .. import losses
from .base import View, methods
from .two_weights import TwoWeights

__all__ = ["MLKD"]


_Level = Callable[..., Tensor]


@methods.register("mlkd", "predictions of instances, batches and classes", "Jin et al., MLKD, CVPR 2023")
@dataclass(frozen=True, kw_only=True)
class MLKD(TwoWeights):
    """KD, and the similarities between samples and between classes, each summed over several temperatures.

    The authors' code also shows every image strongly augmented, and multiplies terms that are reduced already by a
    mask, which halves them; there is one view of an image here, and no mask. The level of classes grows with the square
    of the images per class in a batch: where classes are few, take a smaller weight or rate (the authors': 0.025).

    Attributes:
        weight: w of the three levels together, as published; the labels get 1 - w, unless `ce` is given.
        ce: Weight of the labels, where it is not 1 - w.
        standardize: Z-score the logits of the level of instances first, at temperatures of their own (Sun et al.,
            CVPR 2024; published: weight=9,ce=0.1).
    """

    standardize: bool = False

    @property
    def temperatures(self) -> tuple[float, ...]:
        """As published."""
        return (2.0, 2.0, 3.0, 5.0, 6.0) if self.standardize else (2.0, 3.0, 4.0, 5.0, 6.0)

    def losses(self, view: View) -> dict[str, Tensor]:
        instance: _Level = partial(losses.kd, standardize=self.standardize)
        levels: dict[str, _Level] = {"instance": instance, "batch": losses.mlkd_batch, "class": losses.mlkd_class}
        return {name: self.weight * self._summed(level, view) for name, level in levels.items()}

    def _summed(self, level: _Level, view: View) -> Tensor:
        return torch.stack([level(view.student, view.taught, temperature=t) for t in self.temperatures]).sum()
