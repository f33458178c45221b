"""The STKD family: student alone, mixup, KD, DKD, STKD and function matching are one loss on one batch.

loss = (1 - w) CE(y~, z_s) + w T^2 KL(softmax(z_t / T) || softmax(z_s / T)) on virtual samples of K instances:
w = 0 is the student alone (on virtual samples: mixup), K = 1 is KD, K = 1 decoupled is DKD, w = 1 is function matching.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .. import losses
from ..core.errors import StkdError, unknown
from ..mixing import Mix
from .base import Method, View, check_share, methods
from .two_weights import TwoWeights

__all__ = ["CE", "DKD", "KD", "STKD", "FunctionMatching", "Mixup", "StrongSTKD"]


@methods.register("ce", "student alone, cross-entropy with the labels")
@dataclass(frozen=True, kw_only=True)
class CE(Method):
    """Cross-entropy alone."""

    @property
    def uses_teacher(self) -> bool:
        return False

    def losses(self, view: View) -> dict[str, Tensor]:
        return {}


@methods.register("mixup", "student alone on virtual samples", "Zhang et al., mixup, ICLR 2018")
@dataclass(frozen=True, kw_only=True)
class Mixup(CE):
    """Cross-entropy with mixed labels on virtual samples."""

    mix = Mix()


_DIVERGENCES: dict[str, Callable[..., Tensor]] = {
    "kl": losses.kd,
    "reverse_kl": losses.reverse_kl,
    "js": losses.js,
    "mse": losses.mse,
    "cosine": losses.cosine,
}


@methods.register("kd", "knowledge distillation on real samples", "Hinton et al., arXiv 1503.02531, 2015")
@dataclass(frozen=True, kw_only=True)
class KD(TwoWeights):
    """Softened teacher and cross-entropy.

    Attributes:
        temperature: T.
        weight: w of the distillation term; the labels get 1 - w, unless `ce` is given.
        ce: Weight of the labels, where it is not 1 - w.
        standardize: Z-score the logits first (Sun et al., CVPR 2024; published: temperature=2,weight=9,ce=0.1).
        divergence: How teacher and student are compared: kl, reverse_kl, js, mse or cosine (the last two on the logits
            as they are, without temperature).
    """

    temperature: float = 4.0
    standardize: bool = False
    divergence: str = "kl"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.divergence not in _DIVERGENCES:
            raise unknown("divergence", self.divergence, _DIVERGENCES)

    @property
    def all_logits(self) -> bool:
        return self.standardize or self.divergence in ("mse", "cosine")

    def losses(self, view: View) -> dict[str, Tensor]:
        options: dict[str, Any] = {"standardize": self.standardize}
        if self.divergence not in ("mse", "cosine"):
            options["temperature"] = self.temperature
        loss = _DIVERGENCES[self.divergence](view.student, view.taught, **options)
        return {self.divergence: self.weight * loss}


_LABELLED = ("all", "real")


@methods.register(
    "stkd",
    "multi-instance semantic similarity: KD on virtual samples of several images; beta=B decouples it",
    "Zhao et al., Knowledge-Based Systems 256:109832, 2022",
)
@dataclass(frozen=True, kw_only=True)
class STKD(KD):
    """Teacher and student must agree on virtual samples.

    Attributes:
        beta: If given, the decoupled form, with this weight on the part among the incorrect classes.
        inter: Weight of a term between instances: similarities between the virtual samples of a batch.
        labels: Rows whose labels are looked at: all, with mixed labels, or real, those of one image alone (--real,
            --beside, --mix-until), their mean; a batch without any has none.
    """

    mix = Mix()
    beta: float | None = None
    inter: float = 0.0
    labels: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels not in _LABELLED:
            raise unknown("value of labels", self.labels, _LABELLED)
        if self.beta is not None and self.divergence != "kl":
            raise StkdError("beta decouples the KL; leave out either beta or divergence")

    @property
    def labels_real_alone(self) -> bool:
        return self.labels == "real"

    @property
    def looks_at_labels(self) -> bool:
        # the decoupled form has to know which classes are in a virtual sample
        return self.beta is not None

    def losses(self, view: View) -> dict[str, Tensor]:
        options: dict[str, Any] = {"temperature": self.temperature, "standardize": self.standardize}
        if self.beta is None:
            named = super().losses(view)
        else:
            kl = losses.stkd(view.student, view.taught, view.batch.targets, beta=self.beta, **options)
            named = {"kl": self.weight * kl}
        if self.inter:
            named["inter"] = self.inter * losses.inter_instance(view.student, view.taught, **options)
        return named


@methods.register(
    "stkd-strong",
    "STKD with the options that were best for photos: T = 8, real images in the last fifth of the epochs",
    "Zhao et al., Knowledge-Based Systems 256:109832, 2022",
)
@dataclass(frozen=True, kw_only=True)
class StrongSTKD(STKD):
    """STKD with the options that were chosen on validation photos, of twelve candidates."""

    mix = Mix(until=0.8)
    temperature: float = 8.0


@methods.register("dkd", "decoupled KD: target and non-target classes apart", "Zhao et al., DKD, CVPR 2022")
@dataclass(frozen=True, kw_only=True)
class DKD(Method):
    """Decoupled STKD with one instance, at DKD's published weights for CIFAR-100.

    Attributes:
        temperature: T.
        alpha: Weight of the target part.
        beta: Weight of the part among the other classes; published: by pair, 8 for resnet32x4 -> resnet8x4 and 2 for
            resnet56 -> resnet20.
        warmup: Share of the epochs over which both weights rise from zero; published: 20 of 240.
        standardize: Z-score the logits first.
    """

    temperature: float = 4.0
    alpha: float = 1.0
    beta: float = 8.0
    warmup: float = 20 / 240
    standardize: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("warmup", self.warmup)

    @property
    def looks_at_labels(self) -> bool:
        return True

    def losses(self, view: View) -> dict[str, Tensor]:
        loss = losses.dkd(
            view.student,
            view.taught,
            view.batch.targets,
            alpha=self.alpha,
            beta=self.beta,
            temperature=self.temperature,
            standardize=self.standardize,
        )
        return {"dkd": view.warmed(self.warmup) * loss}


@methods.register(
    "fm",
    "function matching: KL alone on strongly mixed samples, no labels needed",
    "Beyer et al., Knowledge distillation: a good teacher is patient and consistent, CVPR 2022",
)
@dataclass(frozen=True, kw_only=True)
class FunctionMatching(KD):
    """STKD without labels; unlabelled images will do. The larger weight is the own image's, as in the authors' code."""

    mix = Mix(per_sample=True, largest_first=True)
    temperature: float = 1.0
    weight: float = 1.0
