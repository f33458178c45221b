"""Correlation congruence."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .. import losses
from ..losses.cc import CCEmbedding
from .base import Method, Setup, View, check_positive, methods

__all__ = ["CC"]


@methods.register("cc", "correlations between samples, embedded", "Peng et al., CC, ICCV 2019")
@dataclass(frozen=True, kw_only=True)
class CC(Method):
    """Embedded pooled features of neighbouring samples must differ in the same way.

    Attributes:
        weight: Weight of the loss, the CRD benchmark's.
        dim: Dimensions of the embedding.
    """

    needs = frozenset({"pooled"})
    weight: float = 0.02
    dim: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("dim", self.dim)

    def build(self, setup: Setup) -> nn.Module:
        return CCEmbedding(setup.student.pooled[0].shape[1], setup.teacher.pooled[0].shape[1], self.dim)

    def losses(self, view: View) -> dict[str, Tensor]:
        assert view.extras is not None
        embedded = view.extras(view.student_features.pooled[0], view.teacher_features.pooled[0])
        return {"cc": self.weight * losses.cc(*embedded)}
