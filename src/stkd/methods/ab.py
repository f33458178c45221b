"""Activation boundaries."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .. import losses
from ..losses.ab import ABConnector
from .base import Method, Setup, View, check_share, methods

__all__ = ["AB"]


@methods.register("ab", "on which side of zero neurons are, first alone, then labels", "Heo et al., AB, AAAI 2019")
@dataclass(frozen=True, kw_only=True)
class AB(Method):
    """First the student's pre-activations must lie on the teacher's side of zero, then the labels are learned.

    Two deviations from the CRD benchmark: its first stage comes beside the epochs of the run, ours is a part of them,
    so that all methods train equally long; and layers of equal shape have a connector too, as in the paper.

    Attributes:
        weight: Weight of the loss, the CRD benchmark's.
        preparation: Share of the epochs for the first stage; the CRD benchmark has 30 beside its 240.
    """

    needs = frozenset({"preact"})
    weight: float = 1.0
    preparation: float = 30 / 240

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("preparation", self.preparation)

    def build(self, setup: Setup) -> nn.Module:
        layers = zip(setup.student.preact_blocks, setup.teacher.preact_blocks, strict=True)
        return nn.ModuleList(ABConnector(s.shape[1], t.shape[1]) for s, t in layers)

    def first_stage_losses(self, view: View) -> dict[str, Tensor]:
        assert isinstance(view.extras, nn.ModuleList)
        layers = zip(view.extras, view.student_features.preact_blocks, strict=True)
        connected = [connector(features) for connector, features in layers]
        return {"ab": self.weight * losses.ab(connected, view.teacher_features.preact_blocks)}

    def losses(self, view: View) -> dict[str, Tensor]:
        return {}
