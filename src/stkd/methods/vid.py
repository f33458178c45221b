"""Variational information distillation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..losses.vid import VIDRegressor
from .base import Method, Setup, View, methods

__all__ = ["VID"]


@methods.register("vid", "mutual information of the stages", "Ahn et al., VID, CVPR 2019")
@dataclass(frozen=True, kw_only=True)
class VID(Method):
    """The student's stages must predict the teacher's, with learned variances.

    Attributes:
        weight: Weight of the loss, the CRD benchmark's.
    """

    needs = frozenset({"stages"})
    weight: float = 1.0

    def build(self, setup: Setup) -> nn.Module:
        layers = zip(setup.student.blocks, setup.teacher.blocks, strict=True)
        return nn.ModuleList(VIDRegressor(s.shape[1], t.shape[1]) for s, t in layers)

    def losses(self, view: View) -> dict[str, Tensor]:
        assert isinstance(view.extras, nn.ModuleList)
        layers = zip(view.extras, view.student_features.blocks, view.teacher_features.blocks, strict=True)
        return {"vid": self.weight * torch.stack([regressor(s, t) for regressor, s, t in layers]).sum()}
