"""Knowledge review."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .. import losses
from ..losses.reviewkd import Review
from .base import Method, Setup, View, check_share, methods

__all__ = ["ReviewKD"]


@methods.register("reviewkd", "each stage learns from the teacher's shallower ones", "Chen et al., ReviewKD, CVPR 2021")
@dataclass(frozen=True, kw_only=True)
class ReviewKD(Method):
    """The student's stages, fused from deep to shallow, must equal the teacher's.

    Attributes:
        weight: Weight of the loss.
        warmup: Share of the epochs over which the weight rises from zero; published: 20 of 240.
    """

    needs = frozenset({"preact"})
    weight: float = 1.0
    warmup: float = 20 / 240

    def __post_init__(self) -> None:
        check_share("warmup", self.warmup)

    def build(self, setup: Setup) -> nn.Module:
        return Review([f.shape for f in setup.student.preact_blocks], [f.shape for f in setup.teacher.preact_blocks])

    def losses(self, view: View) -> dict[str, Tensor]:
        assert view.extras is not None
        reviewed = view.extras(view.student_features.preact_blocks)
        rise = min(1.0, (view.epoch + 1) / max(1.0, self.warmup * view.epochs))
        return {"review": rise * self.weight * losses.reviewkd(reviewed, view.teacher_features.preact_blocks)}
