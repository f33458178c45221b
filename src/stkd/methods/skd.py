"""Streamlined knowledge distillation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .. import losses
from .base import View, check_positive, methods
from .two_weights import TwoWeights

__all__ = ["SKD"]

_MASKS = 0.5
"""What the masks of the authors' code, multiplied onto losses that are averaged already, come to."""


@methods.register("skd", "KD and the direction of errors between samples", "Jeong et al., Streamlined KD, CVPR 2026")
@dataclass(frozen=True, kw_only=True)
class SKD(TwoWeights):
    """KD, and the whitened errors of the similarities between the samples of a batch, as the authors' code has them.

    Attributes:
        weight: Weight of both terms together; the labels get 1 - w, unless `ce` is given.
        ce: Weight of the labels, where it is not 1 - w (published for resnet32x4 -> resnet8x4: both 0.5).
        temperature: T of the KD.
        ridge: Added to the covariance of the errors.
        divide_by_classes: Divide the similarities by the number of classes, as in the code and not in the paper.
    """

    temperature: float = 4.0
    ridge: float = 0.1
    divide_by_classes: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("ridge", self.ridge)

    def losses(self, view: View) -> dict[str, Tensor]:
        divide = self.divide_by_classes
        direction = losses.skd_direction(view.student, view.taught, ridge=self.ridge, divide_by_classes=divide)
        kl = losses.kd(view.student, view.taught, temperature=self.temperature)
        return {"kl": _MASKS * self.weight * kl, "direction": _MASKS * self.weight * direction}
