"""A gift from knowledge distillation: flow of the solution procedure."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .. import losses
from ..core.errors import StkdError
from .base import Method, Setup, View, check_share, methods

__all__ = ["FSP"]


@methods.register("fsp", "flow between stages, first alone, then labels", "Yim et al., FSP, CVPR 2017")
@dataclass(frozen=True, kw_only=True)
class FSP(Method):
    """First the flows between consecutive stages of equal channels must match, then the labels are learned.

    The stem counts as a stage of the network. The first stage of training is a part of the epochs of the run; in the
    CRD benchmark it comes beside them.

    Attributes:
        weight: Weight of the loss. The CRD benchmark's script says 50, but its first stage does not apply it: 1.
        preparation: Share of the epochs for the first stage; the CRD benchmark has 30 beside its 240.
    """

    needs = frozenset({"stages"})
    weight: float = 1.0
    preparation: float = 30 / 240

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("preparation", self.preparation)

    def build(self, setup: Setup) -> None:
        for s, t in zip(setup.student.stages, setup.teacher.stages, strict=True):
            if s.shape[1] != t.shape[1]:
                raise StkdError(
                    f"fsp compares stages of equal width, and the student has {s.shape[1]} channels where the teacher "
                    f"has {t.shape[1]}; take a student as wide as the teacher, or another method"
                )

    def first_stage_losses(self, view: View) -> dict[str, Tensor]:
        loss = losses.fsp(view.student_features.stages, view.teacher_features.stages)
        return {"fsp": self.weight * loss}

    def losses(self, view: View) -> dict[str, Tensor]:
        return {}
