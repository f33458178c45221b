"""What each layer loses in integers: the model with that layer alone quantised, against the model in float."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .graph import Ranges, layers, quantised

__all__ = ["sensitivity"]

Answer = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def sensitivity(
    model: Any, ranges: Ranges, images: Tensor, run: Callable[[bytes], Answer], *, per_channel: bool = True
) -> list[dict[str, Any]]:
    """How far the answers move when one layer is quantised and the others are not.

    Args:
        model: An onnx.ModelProto in float, with the shapes of its tensors.
        ranges: Of its activations.
        images: float32 (N, C, S, S) in 0..1.
        run: Opens an ONNX model, and gives its answers: logits (N, classes).
        per_channel: Whether each output channel of a weight has a scale of its own.

    Returns:
        For each layer "layer" (its name), "kl" (mean Kullback-Leibler divergence from the float model's probabilities,
        in nats) and "equal_top1" (share of the images with the same most probable class), the worst first.
    """
    batch = images.contiguous().numpy()

    def logits(content: bytes) -> Tensor:
        return torch.from_numpy(run(content)(batch)).float()

    exact = logits(model.SerializeToString())
    measured = []
    for name, node in layers(model.graph).items():
        own = logits(quantised(model, ranges, only=[node], per_channel=per_channel).SerializeToString())
        kl = F.kl_div(own.log_softmax(1), exact.log_softmax(1), log_target=True, reduction="batchmean")
        equal = (own.argmax(1) == exact.argmax(1)).float().mean()
        measured.append({"layer": name, "kl": max(0.0, float(kl)), "equal_top1": float(equal)})
    return sorted(measured, key=lambda one: -one["kl"])
