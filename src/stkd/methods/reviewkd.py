"""Knowledge review."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from .. import losses
from ..losses.features import as_maps
from ..losses.reviewkd import Review
from .base import Method, Setup, Tapped, View, check_share, methods

__all__ = ["ReviewKD"]


@methods.register("reviewkd", "each stage learns from the teacher's shallower ones", "Chen et al., ReviewKD, CVPR 2021")
@dataclass(frozen=True, kw_only=True)
class ReviewKD(Method):
    """The student's stages and pooled features, fused from deep to shallow, must equal the teacher's pre-activations.

    Attributes:
        weight: Weight of the loss, mdistiller's; the published ones depend on the pair (resnet32x4 -> resnet8x4: 5).
        warmup: Share of the epochs over which the weight rises from zero; published: 20 of 240.
    """

    needs = frozenset({"stages", "preact", "pooled"})
    weight: float = 1.0
    warmup: float = 20 / 240

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("warmup", self.warmup)

    def build(self, setup: Setup) -> nn.Module:
        return Review([f.shape for f in _student(setup.student)], [f.shape for f in _teacher(setup.teacher)])

    def losses(self, view: View) -> dict[str, Tensor]:
        assert view.extras is not None
        reviewed = view.extras(_student(view.student_features))
        loss = losses.reviewkd(reviewed, _teacher(view.teacher_features))
        return {"review": view.warmed(self.warmup) * self.weight * loss}


def _student(tapped: Tapped) -> list[Tensor]:
    return [*tapped.blocks, as_maps(tapped.pooled[0])]


def _teacher(tapped: Tapped) -> list[Tensor]:
    return [*tapped.preact_blocks, as_maps(tapped.pooled[0])]
