"""Factor transfer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import losses
from ..losses.ft import Paraphraser, Translator
from .base import Method, Setup, View, check_share, methods

__all__ = ["FT"]

_SLOWER = 0.2  # at the run's whole learning rate the autoencoder diverges


@methods.register("ft", "factors of an autoencoder, which is trained first", "Kim et al., FT, NeurIPS 2018")
@dataclass(frozen=True, kw_only=True)
class FT(Method):
    """First an autoencoder learns the teacher's last stage, then the student's factor must be its code.

    The first stage is a part of the epochs of the run; in the CRD benchmark it comes beside them. There the autoencoder
    has a fifth of the learning rate where the student is a ResNet; here a fifth of the loss, the same to SGD.

    Attributes:
        weight: Weight of the loss, the CRD benchmark's.
        preparation: Share of the epochs for the autoencoder; the CRD benchmark has 30 beside its 240.
    """

    needs = frozenset({"stages"})
    weight: float = 200.0
    preparation: float = 30 / 240

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("preparation", self.preparation)

    def build(self, setup: Setup) -> nn.Module:
        student, teacher = setup.student.stages[-1].shape[1], setup.teacher.stages[-1].shape[1]
        return nn.ModuleDict({"paraphraser": Paraphraser(teacher), "translator": Translator(student, teacher)})

    def first_stage_losses(self, view: View) -> dict[str, Tensor]:
        assert isinstance(view.extras, nn.ModuleDict)
        paraphraser = view.extras["paraphraser"]
        assert isinstance(paraphraser, Paraphraser)
        return {"reconstruction": _SLOWER * paraphraser.reconstruction_loss(view.teacher_features.stages[-1])}

    def losses(self, view: View) -> dict[str, Tensor]:
        assert isinstance(view.extras, nn.ModuleDict)
        with torch.no_grad():  # the autoencoder is finished
            taught = view.extras["paraphraser"](view.teacher_features.stages[-1])
        factor = view.extras["translator"](view.student_features.stages[-1])
        return {"ft": self.weight * losses.ft(factor, taught)}
