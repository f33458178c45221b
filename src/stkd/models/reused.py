"""A backbone that reuses another network's classifier: simkd/STUDENT/WIDTH."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..core.errors import StkdError
from ..losses.simkd import SimKDProjector
from .taps import Taps, classifier, stages

__all__ = ["ReusedClassifier"]


class ReusedClassifier(nn.Module):
    """The stages of a network, a projector to the width of a teacher, and a classifier like the teacher's.

    Args:
        backbone: The network; its own classifier is taken out.
        width: Features of the teacher's classifier.
        num_classes: C.
        sample: Images (B, C, H, W), to find the last stage with.

    Raises:
        StkdError: The network has no maps or no linear classifier.

    Source: Chen et al., Knowledge Distillation with the Reused Teacher Classifier, CVPR 2022.
    """

    feature_taps = ("projector",)

    def __init__(self, backbone: nn.Module, width: int, num_classes: int, sample: Tensor) -> None:
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
        self.projector = SimKDProjector(shape[1], width)
        self.fc = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        logits: Tensor = self.fc(self.projector(self._maps(self.backbone, x)).mean((2, 3)))
        return logits

    def _maps(self, backbone: nn.Module, x: Tensor) -> Tensor:
        # Set anew each time, since hooks would not survive a copy of the module.
        with Taps(backbone, [self.stage]) as taps:
            backbone(x)
            return taps.take()[self.stage]
