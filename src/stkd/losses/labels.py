"""Labels of losses: hard (B,) int64, or soft (B, C) as mixed over several instances."""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.errors import StkdError

__all__ = ["check_labels", "soft_labels"]


def check_labels(labels: Tensor, logits: Tensor) -> None:
    """Check that labels are (B,) integers from 0 to C - 1, or (B, C) floats, for logits (B, C).

    Integers are looked at on the CPU alone: elsewhere that would wait for the device.

    Raises:
        StkdError: They are not.
    """
    hard = labels.shape == logits.shape[:1] and not labels.is_floating_point()
    soft = labels.shape == logits.shape and labels.is_floating_point()
    if not (hard or soft):
        raise StkdError(
            f"labels of shape {tuple(labels.shape)} and type {labels.dtype} do not fit logits {tuple(logits.shape)};"
            " give class indices (batch,) or probabilities (batch, classes)"
        )
    if hard and labels.device.type == "cpu" and labels.numel() and not torch.compiler.is_compiling():
        low, high = (int(end) for end in labels.aminmax())
        if low < 0 or high >= logits.shape[1]:
            wrong = low if low < 0 else high
            raise StkdError(f"the label {wrong} is none of the {logits.shape[1]} classes, 0 to {logits.shape[1] - 1}")


def soft_labels(labels: Tensor, logits: Tensor) -> Tensor:
    """Labels as probabilities (B, C) in the type of `logits`; hard labels become one-hot.

    Args:
        labels: (B,) int64 or (B, C).
        logits: (B, C), for the number of classes and the type.

    Raises:
        StkdError: The shapes do not fit.
    """
    check_labels(labels, logits)
    if labels.ndim == 1:
        labels = labels.unsqueeze(1) == torch.arange(logits.shape[1], device=labels.device)
    return labels.to(logits.dtype)
