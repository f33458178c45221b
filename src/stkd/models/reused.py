"""A backbone that reuses another network's classifier: simkd/STUDENT/WIDTH or simkd/STUDENT/WIDTHxSIDE."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import StkdError
from ..losses.simkd import SimKDProjector
from .taps import Taps, classifier, stages

__all__ = ["ReusedClassifier", "map_side"]


def map_side(model: nn.Module, images: Tensor) -> int | None:
    """Height of the square maps of a model's last stage; None where they are tokens.

    Args:
        model: The model.
        images: (B, C, H, W), on its device.
    """
    last = stages(model, images)[-1]
    mode = model.training
    with Taps(model, [last]) as taps, torch.no_grad():
        model.eval()(images)
        maps = taps.take()[last]
    model.train(mode)
    return maps.shape[2] if maps.ndim == 4 else None


class ReusedClassifier(nn.Module):
    """The stages of a network, a projector to the width of a teacher, and a classifier like the teacher's.

    Args:
        backbone: The network; its own classifier is taken out.
        width: Features of the teacher's classifier.
        num_classes: C.
        sample: Images (B, C, H, W), to find the last stage with.
        side: Height of the teacher's maps; larger ones are averaged to it before they are projected, as published.

    Attributes:
        side: None where the maps are no larger.

    Raises:
        StkdError: The network has no maps or no linear classifier.

    Source: Chen et al., Knowledge Distillation with the Reused Teacher Classifier, CVPR 2022.
    """

    feature_taps = ("projector",)

    def __init__(
        self, backbone: nn.Module, width: int, num_classes: int, sample: Tensor, side: int | None = None
    ) -> None:
        super().__init__()
        own = classifier(backbone)
        backbone.set_submodule(next(name for name, m in backbone.named_modules() if m is own), nn.Identity())
        self.backbone = backbone
        self.stage = stages(backbone, sample)[-1]
        mode = backbone.training
        with torch.no_grad():
            shape = self._maps(backbone.eval(), sample).shape
        backbone.train(mode)
        if len(shape) != 4:
            raise StkdError(
                f"{type(backbone).__name__} has no maps in its last stage; simkd needs a convolutional student"
            )
        self.side = side if side is not None and side < shape[2] else None
        self.projector = SimKDProjector(shape[1], width)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        maps = self._maps(self.backbone, x)
        if self.side is not None:
            maps = F.adaptive_avg_pool2d(maps, self.side)
        logits: Tensor = self.fc(self.projector(maps).mean((2, 3)))
        return logits

    def _maps(self, backbone: nn.Module, x: Tensor) -> Tensor:
        # Set anew each time, since hooks would not survive a copy of the module.
        with Taps(backbone, [self.stage]) as taps:
            backbone(x)
            return taps.take()[self.stage]
