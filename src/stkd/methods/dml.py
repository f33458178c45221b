"""Deep mutual learning."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import Tensor, nn

from .. import losses
from .base import Method, Setup, View, methods

__all__ = ["DML"]


@methods.register("dml", "two students teach each other, without a teacher", "Zhang et al., DML, CVPR 2018")
@dataclass(frozen=True, kw_only=True)
class DML(Method):
    """A peer, the same network from other initial weights, learns beside the student; each follows the other.

    Both are updated in one step, where the paper alternates. The peer is thrown away.

    Attributes:
        weight: Weight of following the peer, as published.
        temperature: T, as published.
    """

    weight: float = 1.0
    temperature: float = 1.0

    @property
    def uses_teacher(self) -> bool:
        return False

    @property
    def looks_at_labels(self) -> bool:
        return True

    def build(self, setup: Setup) -> nn.Module:
        peer = copy.deepcopy(setup.student_model)
        for module in peer.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
        return peer

    def losses(self, view: View) -> dict[str, Tensor]:
        assert view.extras is not None
        peer = view.whole(view.extras(view.batch.images))
        return {
            "kl": self.weight * losses.kd(view.student, peer.detach(), temperature=self.temperature),
            "peer_ce": losses.cross_entropy(peer, view.batch.targets, class_weights=view.class_weights),
            "peer_kl": self.weight * losses.kd(peer, view.student.detach(), temperature=self.temperature),
        }
