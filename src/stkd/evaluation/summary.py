"""Everything that `stkd evaluate` shows about a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..data.base import DataSet, Split
from ..errors import StkdError
from .cost import costs
from .predictions import logits_of, scores

__all__ = ["evaluate"]


def evaluate(
    model: nn.Module,
    data: DataSet,
    *,
    split: str = "test",
    teacher: Callable[[Tensor], Tensor] | None = None,
    workers: int = 0,
) -> dict[str, Any]:
    """Everything `stkd evaluate` shows about a model.

    Args:
        model: The model; it is evaluated where its parameters are.
        data: The data set.
        split: "test", "val" or "train".
        teacher: Source of logits to agree with.
        workers: Processes that decode, for sets of files.

    Returns:
        The scores of `scores`, with params, macs, latency_ms_1 and latency_ms_64 (medians, float32), images and split.

    Raises:
        StkdError: The data set has no such split, or it is not labelled.
    """
    chosen: Split | None = getattr(data, split)
    if chosen is None:
        raise StkdError(f"{data.name} has no {split} split; choose another with --split")
    if (chosen.labels < 0).any():
        raise StkdError(f"the {split} split of {data.name} is not labelled, so there is nothing to score against")
    device = next(model.parameters()).device
    model.eval()
    logits, labels = logits_of(model, chosen, data, device=device, workers=workers)
    taught = None
    if teacher is not None:
        taught, _ = logits_of(teacher, chosen, data, device=device, workers=workers)
    return {
        **scores(logits, labels, taught),
        **costs(model, data.channels, data.size),
        "threads": torch.get_num_threads(),
        "images": len(labels),
        "split": split,
    }
