"""Logits among whatever a model answers with: a tensor, a tuple, a dictionary, or an object with `logits`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..core.errors import StkdError

__all__ = ["LogitsAlone", "as_logits", "logits_in"]


def logits_in(output: Any, who: str, shape: tuple[int, int | None]) -> Tensor:
    """The logits in an output.

    Args:
        output: A tensor is taken as it is; otherwise what is called `logits`, else the one tensor of the shape.
        who: Of whom, for messages.
        shape: Rows and columns that they have; None for any number of columns.

    Raises:
        StkdError: There are none, or several tensors could be them.
    """
    if isinstance(output, Tensor):
        return output
    parts = output if isinstance(output, Mapping) else vars(output) if hasattr(output, "logits") else None
    named = None if parts is None else parts.get("logits")
    if isinstance(named, Tensor):
        return named
    values = list(parts.values()) if parts is not None else list(output) if isinstance(output, list | tuple) else []
    rows, columns = shape
    fitting = [
        value
        for value in values
        if isinstance(value, Tensor)
        and value.ndim == 2
        and len(value) == rows
        and value.shape[1] == (columns or value.shape[1])
    ]
    if len(fitting) == 1:
        return fitting[0]
    wanted = f"({rows}, {columns or 'classes'})"
    what = f"{len(fitting)} tensors {wanted}, of which any could be the logits" if fitting else f"no tensor {wanted}"
    raise StkdError(
        f"{who} answers with {what}, in a {type(output).__name__}; give a module that returns its logits alone, "
        "or under the name 'logits'"
    )


class LogitsAlone(nn.Module):
    """A model whose output is reduced to its logits.

    Args:
        model: The model.
        num_classes: Number of its logits; None for any.
    """

    def __init__(self, model: nn.Module, num_classes: int | None) -> None:
        super().__init__()
        self.model, self.outputs = model, num_classes

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        return logits_in(self.model(images), type(self.model).__name__, (len(images), self.outputs))


def as_logits(model: nn.Module, channels: int, size: int, num_classes: int | None) -> nn.Module:
    """A model that answers with its logits: itself where it does so, else wrapped.

    Args:
        model: Any module; its mode, weights and statistics stay as they are.
        channels, size: Of the images that it takes.
        num_classes: Number of its logits; None for any.

    Raises:
        StkdError: It has no logits among its outputs, or several that could be them.
    """
    tensor = next((t for group in (model.parameters(), model.buffers()) for t in group), torch.empty(0))
    modes = {part: part.training for part in model.modules()}
    try:
        with torch.no_grad():
            output = model.eval()(torch.zeros(2, channels, size, size, device=tensor.device))
    finally:
        for part, mode in modes.items():
            part.training = mode
    if isinstance(output, Tensor):
        return model
    logits_in(output, type(model).__name__, (2, num_classes))
    return LogitsAlone(model, num_classes)
