"""SimKD: the reused teacher classifier."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import losses
from ..core.errors import StkdError
from ..models.reused import ReusedClassifier, map_side
from ..models.taps import classifier
from .base import Method, Setup, View, methods

__all__ = ["SimKD"]


@methods.register(
    "simkd", "last features alone; the student takes over the teacher's classifier", "Chen et al., SimKD, CVPR 2022"
)
@dataclass(frozen=True, kw_only=True)
class SimKD(Method):
    """The student's last stage, through a projector, must equal the teacher's, whose classifier then serves both.

    Projector and classifier are part of the student, as they are needed to use it: its model is simkd/STUDENT/WIDTH,
    or simkd/STUDENT/WIDTHxSIDE where maps larger than the teacher's are pooled to its side first.
    Where the teacher does not simply average its last stage (wide ResNets), the pooled features are compared.

    Attributes:
        weight: Weight of the loss, as published.
    """

    needs = frozenset({"stages", "pooled"})
    weight: float = 1.0

    @property
    def label_weight(self) -> float:
        return 0.0

    def adapt(
        self,
        student: nn.Module,
        name: str,
        teacher: nn.Module,
        sample: Tensor,
        taught: Tensor,
        classes: Tensor | None = None,
    ) -> tuple[nn.Module, str]:
        head = classifier(teacher)
        outputs = classifier(student).out_features
        bias = head.bias if head.bias is not None else torch.zeros(head.out_features, device=head.weight.device)
        # the teacher's rows in the order of the data set's classes, without those of other classes
        rows = torch.arange(head.out_features) if classes is None else classes
        rows = rows.to(head.weight.device)
        if len(rows) != outputs:
            raise StkdError(
                f"simkd takes over the teacher's classifier, which has {head.out_features} classes and not {outputs}; "
                "take a teacher of this data set"
            )
        side = map_side(teacher, taught)
        reused = ReusedClassifier(student, head.in_features, outputs, sample, side)
        reused.fc.load_state_dict({"weight": head.weight[rows], "bias": bias[rows]})
        reused.fc.requires_grad_(False)
        pooled = f"x{side}" if reused.side is not None else ""
        return reused, f"simkd/{name}/{head.in_features}{pooled}"

    def build(self, setup: Setup) -> nn.Module:
        averaged, pooled = setup.teacher.stages[-1].mean((2, 3)), setup.teacher.pooled[0]
        return Place(averaged.shape == pooled.shape and torch.allclose(averaged, pooled, atol=1e-3))

    def losses(self, view: View) -> dict[str, Tensor]:
        assert isinstance(view.extras, Place)
        student, teacher = (
            f.stages[-1] if view.extras.maps else f.pooled[0] for f in (view.student_features, view.teacher_features)
        )
        return {"simkd": self.weight * losses.simkd(student, teacher)}


class Place(nn.Module):
    """Where the features are compared.

    Args:
        maps: On the maps of the last stage, else after pooling.
    """

    def __init__(self, maps: bool) -> None:
        super().__init__()
        self.maps = maps
