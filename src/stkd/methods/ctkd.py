"""Curriculum temperature."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .. import losses
from ..losses.ctkd import LearnedTemperature, ctkd_strength
from .base import Setup, View, check_share, methods
from .two_weights import TwoWeights

__all__ = ["CTKD"]


@methods.register("ctkd", "KD with a temperature learned against the student", "Li et al., CTKD, AAAI 2023")
@dataclass(frozen=True, kw_only=True)
class CTKD(TwoWeights):
    """KD whose temperature, from 1 to 21, is learned to make the student's task harder, from epoch to epoch more so.

    Attributes:
        weight: w of the distillation term; the labels get 1 - w, unless `ce` is given.
        ce: Weight of the labels, where it is not 1 - w.
        rise: Share of the epochs over which the temperature's strength rises; published: 10 of 240.
        standardize: Z-score the logits first (Sun et al., CVPR 2024; published: weight=9,ce=0.1).
    """

    rise: float = 10 / 240
    standardize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("rise", self.rise)

    def build(self, setup: Setup) -> nn.Module:
        return LearnedTemperature()

    def losses(self, view: View) -> dict[str, Tensor]:
        assert view.extras is not None
        strength = ctkd_strength(view.epoch + 1, max(1, round(self.rise * view.epochs)))
        loss = losses.kd(view.student, view.taught, temperature=view.extras(strength), standardize=self.standardize)
        return {"kl": self.weight * loss}
