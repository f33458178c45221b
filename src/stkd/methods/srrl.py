"""Softmax regression representation learning."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .. import losses
from ..losses.srrl import SRRLConnector
from ..models.taps import classifier
from .base import Method, Setup, View, methods

__all__ = ["SRRL"]


@methods.register("srrl", "last stage, also through the teacher's classifier", "Yang et al., SRRL, ICLR 2021")
@dataclass(frozen=True, kw_only=True)
class SRRL(Method):
    """The student's last features must equal the teacher's, and give the teacher's classifier the same logits.

    Attributes:
        weight: Weight of the loss.
    """

    needs = frozenset({"pooled"})
    weight: float = 1.0

    def build(self, setup: Setup) -> nn.Module:
        return SRRLConnector(setup.student.pooled[0].shape[1], setup.teacher.pooled[0].shape[1])

    def losses(self, view: View) -> dict[str, Tensor]:
        assert view.extras is not None
        assert view.teacher_model is not None
        features = view.extras(view.student_features.pooled[0])
        head = classifier(view.teacher_model)
        taught = view.teacher_features.pooled[0]
        loss = losses.srrl(features, taught, student_logits=head(features), teacher_logits=head(taught))
        return {"srrl": self.weight * loss}
