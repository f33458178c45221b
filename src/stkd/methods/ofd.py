"""Overhaul of feature distillation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .. import losses
from ..losses.ofd import OFDConnector, ofd_margin
from .base import Method, Setup, View, methods

__all__ = ["OFD", "Margins"]


@methods.register("ofd", "pre-activations above a margin", "Heo et al., OFD, ICCV 2019")
@dataclass(frozen=True, kw_only=True)
class OFD(Method):
    """Pre-activations of the stages must equal the teacher's where those are above a margin.

    Attributes:
        weight: Weight of the loss, as published.
    """

    needs = frozenset({"preact"})
    weight: float = 1e-3

    def build(self, setup: Setup) -> nn.Module:
        layers = list(zip(setup.student.preact_blocks, setup.teacher.preact_blocks, strict=True))
        connectors = nn.ModuleList(OFDConnector(s.shape[1], t.shape[1]) for s, t in layers)
        norms = setup.teacher_norms[1:] or setup.teacher_norms or (None,) * len(layers)
        margins = Margins([t.shape[1] for _, t in layers], norms)
        return nn.ModuleDict({"connectors": connectors, "margins": margins})

    def losses(self, view: View) -> dict[str, Tensor]:
        assert isinstance(view.extras, nn.ModuleDict)
        connectors, margins = view.extras["connectors"], view.extras["margins"]
        assert isinstance(connectors, nn.ModuleList)
        taught = view.teacher_features.preact_blocks
        student = [c(f) for c, f in zip(connectors, view.student_features.preact_blocks, strict=True)]
        return {"ofd": self.weight * losses.ofd(student, taught, margin=margins(taught))}


class Margins(nn.Module):
    """Mean of each channel where it is below zero.

    From the batch norm before the activation, as if its output were normal, as published; where there is none, measured
    over all batches so far.

    Args:
        channels: C of each layer.
        norms: The batch norm before each layer's activation, if any.
    """

    def __init__(self, channels: Sequence[int], norms: Sequence[nn.BatchNorm2d | None]) -> None:
        super().__init__()
        for i, (c, norm) in enumerate(zip(channels, norms, strict=True)):
            if norm is not None and norm.num_features == c:
                self.register_buffer(f"margin{i}", ofd_margin(norm))
            else:
                self.register_buffer(f"sum{i}", torch.zeros(c))
                self.register_buffer(f"count{i}", torch.zeros(c))

    @torch.no_grad()
    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Margins (1, C, 1, 1) of layers (B, C, H, W), these included."""
        margins = []
        known = dict(self.named_buffers())
        for i, layer in enumerate(features):
            if (margin := known.get(f"margin{i}")) is not None:
                margins.append(margin)
                continue
            total, count = self.get_buffer(f"sum{i}"), self.get_buffer(f"count{i}")
            total += layer.clamp_max(0).sum((0, 2, 3))
            count += (layer < 0).sum((0, 2, 3))
            margins.append((total / count.clamp_min(1)).view(1, -1, 1, 1))
        return margins
