"""Multi-level logit distillation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from .. import losses
from ..mixing import Mix
from .base import REAL, View, methods
from .two_weights import TwoWeights

__all__ = ["MLKD"]


_Level = Callable[..., Tensor]


@methods.register("mlkd", "predictions of instances, batches and classes", "Jin et al., MLKD, CVPR 2023")
@dataclass(frozen=True, kw_only=True)
class MLKD(TwoWeights):
    """KD, and the similarities between samples and between classes, each summed over several temperatures.

    By default one view of an image is shown and all terms count alike. The authors' code shows every image strongly
    augmented too, and multiplies terms that are reduced already by a mask, which halves them: `strong`. The level of
    classes grows with the square of the images per class in a batch: where classes are few, take a smaller weight or
    rate (the authors': 0.025).

    Attributes:
        weight: w of the three levels together, as published; the labels get 1 - w, unless `ce` is given.
        ce: Weight of the labels, where it is not 1 - w.
        standardize: Z-score the logits of the level of instances first, at temperatures of their own (Sun et al.,
            CVPR 2024; published: weight=9,ce=0.1).
        strong: Show every image strongly augmented too, with the terms and weights of the authors' code.
        masked: Look at the half of the samples of which the teacher is least sure, and at the half of the classes to
            which it gives least, as the paper means it.
    """

    standardize: bool = False
    strong: bool = False
    masked: bool = False

    @property
    def mix(self) -> Mix:  # type: ignore[override]
        return replace(REAL, strong=self.strong)

    @property
    def label_weight(self) -> float:
        # both views have a cross-entropy of this weight, and the trainer takes the mean over the rows of both
        return super().label_weight * (2 if self.strong else 1)

    @property
    def temperatures(self) -> tuple[float, ...]:
        """As published."""
        return (2.0, 2.0, 3.0, 5.0, 6.0) if self.standardize else (2.0, 3.0, 4.0, 5.0, 6.0)

    def losses(self, view: View) -> dict[str, Tensor]:
        rows = len(view.student) - (view.batch.strong if self.strong else 0)
        student, taught = view.student[:rows], view.taught[:rows]
        samples, classes = losses.mlkd_masks(taught) if self.masked else (None, None)
        # a sample whose logits are the teacher's adds nothing
        asked = student if samples is None else torch.where(samples[:, None], student, taught)
        share = 0.5 if self.strong and not self.masked else 1.0
        kd: _Level = partial(losses.kd, standardize=self.standardize)
        on_batch, on_classes = partial(losses.mlkd_batch, mask=samples), partial(losses.mlkd_class, mask=classes)
        named = {
            "instance": share * _summed(kd, asked, taught, self.temperatures),
            "batch": share * _summed(on_batch, student, taught, self.temperatures),
            "class": share * _summed(on_classes, student, taught, self.temperatures),
        }
        if self.strong:
            first = 2.0 if self.standardize else 4.0
            named["strong"] = _summed(kd, view.student[rows:], view.taught[rows:], (first, 3.0, 5.0))
            # in the authors' code these two terms of the strong view have the logits of the weak one
            named["instance"] = named["instance"] + _summed(kd, student, taught, (2.0, 6.0))
        return {name: self.weight * value for name, value in named.items()}


def _summed(level: _Level, student: Tensor, taught: Tensor, temperatures: Sequence[float]) -> Tensor:
    return torch.stack([level(student, taught, temperature=t) for t in temperatures]).sum()
