"""FitNets: hints."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .. import losses
from ..core.errors import StkdError
from ..losses.fitnet import FitNetRegressor
from .base import Method, Setup, Tapped, View, methods

__all__ = ["FitNet"]


@methods.register("fitnet", "a middle stage through a regressor", "Romero et al., FitNets, ICLR 2015")
@dataclass(frozen=True, kw_only=True)
class FitNet(Method):
    """A middle stage of the student, through a regressor, must equal the teacher's.

    Attributes:
        weight: Weight of the loss, the CRD benchmark's.
        stage: Which of the stages, from 0 at the stem; the CRD benchmark's hint layer is 2, where there are as many.
    """

    needs = frozenset({"stages"})
    weight: float = 100.0
    stage: int = 2

    def build(self, setup: Setup) -> nn.Module:
        stages = len(setup.student.stages)
        if self.stage >= stages and self.stage != FitNet.stage:  # the default is for networks of any depth
            raise StkdError(f"fitnet has no stage {self.stage} here; student and teacher have stages 0 to {stages - 1}")
        at = self._place(setup.student)
        return FitNetRegressor(setup.student.stages[at].shape, setup.teacher.stages[at].shape)

    def losses(self, view: View) -> dict[str, Tensor]:
        assert view.extras is not None
        at = self._place(view.student_features)
        student = view.extras(view.student_features.stages[at])
        return {"hint": self.weight * losses.fitnet(student, view.teacher_features.stages[at])}

    def _place(self, tapped: Tapped) -> int:
        return min(self.stage, len(tapped.stages) - 1)
