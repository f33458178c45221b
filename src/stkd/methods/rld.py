"""Refined logit distillation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from .. import losses
from .base import Method, View, check_positive, check_share, methods

__all__ = ["RLD"]


@methods.register("rld", "confidence, and the ranking below the true class", "Sun et al., RLD, ICCV 2025")
@dataclass(frozen=True, kw_only=True)
class RLD(Method):
    """The teacher's confidence, and its similarities among the classes that it puts below the true one.

    Attributes:
        temperature: T of the classes below.
        confidence_temperature: tau of the confidence; the authors' default (their example takes T).
        alpha: Weight of the confidence.
        beta: Weight of the classes below; the authors search both by pair, with unpublished results.
        warmup: Share of the epochs over which both weights rise from zero; published: 20 of 240.
        standardize: Z-score the logits first.
    """

    temperature: float = 4.0
    confidence_temperature: float = 1.0
    alpha: float = 1.0
    beta: float = 8.0
    warmup: float = 20 / 240
    standardize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("confidence_temperature", self.confidence_temperature)
        check_share("warmup", self.warmup)

    @property
    def looks_at_labels(self) -> bool:
        return True

    def losses(self, view: View) -> dict[str, Tensor]:
        loss = losses.rld(
            view.student,
            view.taught,
            view.batch.targets,
            alpha=self.alpha,
            beta=self.beta,
            temperature=self.temperature,
            confidence_temperature=self.confidence_temperature,
            standardize=self.standardize,
        )
        return {"rld": view.warmed(self.warmup) * loss}
