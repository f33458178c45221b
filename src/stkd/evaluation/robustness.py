"""Accuracy on corrupted images, for several models on the very same ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..data.base import DataSet, Split
from ..data.loader import affine, eval_batches
from .corruptions import CORRUPTIONS, SEVERITIES, corrupt
from .predictions import eval_batch_size

__all__ = ["robustness"]


@torch.no_grad()
def robustness(
    models: Mapping[str, Callable[[Tensor], Tensor]],
    split: Split,
    data: DataSet,
    *,
    device: torch.device,
    workers: int = 0,
    seed: int = 0,
    corruptions: Iterable[str] = CORRUPTIONS,
) -> dict[str, dict[str, Any]]:
    """Top-1 accuracy of models under common corruptions, computed on the fly (one pass for each and each severity).

    Args:
        models: Name to a function from normalised images to logits.
        split: Labelled images.
        data: What the split belongs to.
        device: Of the models.
        workers: Processes that decode, for sets of files.
        seed: Of the noise; a batch, corruption and severity always get the same.
        corruptions: Names out of `CORRUPTIONS`.

    Returns:
        For each model: "top1" (corruption to its five accuracies, severities 1 to 5), "mean_top1" over all of them, and
        "clean_top1".
    """
    scale, shift = affine(data.mean, data.std, device)
    cells = [(name, severity) for name in corruptions for severity in SEVERITIES]
    hits = torch.zeros(len(models), len(cells) + 1, dtype=torch.int64)
    batches = eval_batches(split, data, batch_size=eval_batch_size(data), device=device, workers=workers)
    for step, (images, labels) in enumerate(batches):
        pixels = ((images - shift) / scale).round().to(torch.uint8)
        for column in range(len(cells) + 1):
            if column < len(cells):
                name, severity = cells[column]
                key = ((seed * 1_000_003 + step) * len(CORRUPTIONS) + CORRUPTIONS.index(name)) * 10 + severity
                shown = corrupt(pixels, name, severity, torch.Generator().manual_seed(key)) * scale + shift
            else:
                shown = images
            for row, model in enumerate(models.values()):
                hits[row, column] += int((model(shown).argmax(1) == labels).sum())
    shares = (hits.double() / len(split)).tolist()
    return {who: _named(row, cells) for who, row in zip(models, shares, strict=True)}


def _named(accuracies: list[float], cells: list[tuple[str, int]]) -> dict[str, Any]:
    *corrupted, clean = accuracies
    by_name: dict[str, list[float]] = {}
    for (name, _), accuracy in zip(cells, corrupted, strict=True):
        by_name.setdefault(name, []).append(accuracy)
    return {"top1": by_name, "mean_top1": sum(corrupted) / len(corrupted), "clean_top1": clean}
