"""Local dense relational logit distillation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .. import losses
from ..core.errors import StkdError
from .base import Method, View, methods

__all__ = ["LDRLD"]


@methods.register("ldrld", "pairs of the classes that the student ranks first", "Xu et al., LDRLD, ICCV 2025")
@dataclass(frozen=True, kw_only=True)
class LDRLD(Method):
    """Relations of all pairs of the classes that the student ranks first, and the similarities among the others.

    Attributes:
        temperature: T.
        alpha: Weight of the pairs; published for resnet32x4 -> resnet8x4 (other pairs: unknown).
        beta: Weight of the other classes, likewise.
        top: Number of classes ranked first.
    """

    temperature: float = 4.0
    alpha: float = 10.5
    beta: float = 7.0
    top: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.top < 1:
            raise StkdError(f"top must be 1 or more, got {self.top}")

    def losses(self, view: View) -> dict[str, Tensor]:
        options = {"alpha": self.alpha, "beta": self.beta, "temperature": self.temperature}
        return {"ldrld": losses.ldrld(view.student, view.taught, top=self.top, **options)}
