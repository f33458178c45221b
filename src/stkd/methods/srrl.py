"""Softmax regression representation learning."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from .. import losses
from ..losses.srrl import SRRLConnector
from ..models.taps import classifier
from .base import Method, Setup, View, methods

__all__ = ["SRRL"]


@methods.register("srrl", "last stage, also through the teacher's classifier", "Yang et al., SRRL, ICLR 2021")
@dataclass(frozen=True, kw_only=True)
class SRRL(Method):
    """The student's pooled features must equal the teacher's, and give the teacher's classifier the same logits.

    The paper connects the maps before pooling; the benchmarks that compare with it connect the pooled features.

    Attributes:
        weight: Weight of the loss, the benchmarks' (SimKD's, CTKD's); they add KD, which is `srrl+kd` here.
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
        # As a function: calling the module would run the taps that are set on it.
        student_logits, teacher_logits = (F.linear(f, head.weight, head.bias) for f in (features, taught))
        loss = losses.srrl(features, taught, student_logits=student_logits, teacher_logits=teacher_logits)
        return {"srrl": self.weight * loss}
