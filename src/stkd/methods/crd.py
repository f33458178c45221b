"""Contrastive representation distillation."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from ..core.errors import StkdError, check_range
from ..losses.crd import CRDMemory, CRDNegatives
from .base import Method, Setup, View, check_positive, methods

__all__ = ["CRD"]

_MOST_NEGATIVES = 131_072  # eight times the published; a step looks up that many embeddings for each of its images
_MOST_DIM = 4096


@methods.register("crd", "contrast with negatives of other classes, from memories", "Tian et al., CRD, ICLR 2020")
@dataclass(frozen=True, kw_only=True)
class CRD(Method):
    """An image's features in student and teacher must be closer to each other than to those of other classes.

    Attributes:
        weight: Weight of the loss, the CRD benchmark's.
        negatives: Negatives per image.
        dim: Dimensions of the embedding.
    """

    # The memories hold one entry for each training image; a mixture of several has none.
    real_rows = True
    remembers_images = True
    needs = frozenset({"pooled"})
    weight: float = 0.8
    negatives: int = 16384
    dim: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("negatives", self.negatives)
        check_positive("dim", self.dim)
        check_range("negatives", self.negatives, 1, _MOST_NEGATIVES)
        check_range("dim", self.dim, 1, _MOST_DIM)

    @property
    def looks_at_labels(self) -> bool:
        return True

    def build(self, setup: Setup) -> nn.Module:
        if bool((setup.labels == setup.labels[0]).all()):
            raise StkdError("crd contrasts images of different classes, and the training images have one; take kd")
        memory = CRDMemory(
            setup.student.pooled[0].shape[1], setup.teacher.pooled[0].shape[1], len(setup.labels), self.dim
        )
        return nn.ModuleDict({"memory": memory, "sampler": CRDNegatives(setup.labels, self.negatives)})

    def losses(self, view: View) -> dict[str, Tensor]:
        assert isinstance(view.extras, nn.ModuleDict)
        batch = view.batch
        if batch.real == 0:
            raise StkdError("crd works on single images, and no row of a batch stays real; raise --real")
        own = batch.parts.index[: batch.real, 0]
        contrast = view.extras["sampler"](batch.index[own])
        student, teacher = (f.pooled[0][: batch.real] for f in (view.student_features, view.teacher_features))
        return {"crd": self.weight * view.extras["memory"](student, teacher, contrast)}
