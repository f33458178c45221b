"""Accuracy on corrupted images, the same ones for all models."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from ..core.devices import fast_bfloat16
from ..data.base import DataSet, Split
from ..data.loader import affine, eval_batches
from .corruptions import CORRUPTIONS, SEVERITIES, corrupt
from .predictions import eval_batch_size

__all__ = ["robustness"]

Cell = tuple[str, int]
"""A corruption and its severity; 0 is the image itself."""

_CLEAN: Cell = ("", 0)


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
    files: Mapping[Cell, Split] | None = None,
    progress: bool = True,
) -> dict[str, dict[str, Any]]:
    """Top-1 accuracy of models under common corruptions, computed on the fly (one pass for each and each severity).

    The models run in bf16 where that is fast, which changes a few answers, either way.

    Args:
        models: Name to a function from normalised images to logits.
        split: Labelled images.
        data: What the split belongs to.
        device: Of the models.
        workers: Processes that decode, for sets of files.
        seed: Of the noise; a batch, corruption and severity always get the same.
        corruptions: Names out of `CORRUPTIONS`.
        files: Published corrupted images by corruption and severity, in the place of those made here.
        progress: Whether to show a progress bar, where stderr is a terminal.

    Returns:
        For each model: "top1" (corruption to its five accuracies, severities 1 to 5), "mean_top1" over all of them, and
        "clean_top1".
    """
    cells = [*(files or ((name, severity) for name in corruptions for severity in SEVERITIES)), _CLEAN]
    shown = {} if files is None else {**files, _CLEAN: split}
    hits = torch.zeros(len(models), len(cells), dtype=torch.int64, device=device)
    fast = torch.autocast(device.type, torch.bfloat16, enabled=fast_bfloat16(device))
    made = _corrupted_batches(split, data, cells, device, workers, seed)
    batches = track(
        made if files is None else _batches_of_files(shown, data, device, workers),
        "corruptions",
        total=sum(math.ceil(len(shown.get(cell, split)) / eval_batch_size(data)) for cell in cells),
        console=Console(stderr=True),
        transient=True,
        disable=not (progress and sys.stderr.isatty()),
    )
    for column, images, labels in batches:
        for row, model in enumerate(models.values()):
            with fast:
                logits = model(images)
            hits[row, column] += (logits.argmax(1) == labels).sum()
    images = torch.tensor([len(shown.get(cell, split)) for cell in cells], device=device)
    shares = (hits.double() / images).tolist()
    return {who: _by_name(row, cells) for who, row in zip(models, shares, strict=True)}


def _corrupted_batches(
    split: Split, data: DataSet, cells: Sequence[Cell], device: torch.device, workers: int, seed: int
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each batch once for each cell: the cell's position, normalised images channels last, labels."""
    scale, shift = affine(data.mean, data.std, device)
    batches = eval_batches(split, data, batch_size=eval_batch_size(data), device=device, workers=workers)
    for step, (images, labels) in enumerate(batches):
        pixels = ((images - shift) / scale).round().to(torch.uint8)
        for column, (name, severity) in enumerate(cells):
            if severity:
                key = ((seed * 1_000_003 + step) * len(CORRUPTIONS) + CORRUPTIONS.index(name)) * 10 + severity
                corrupted = corrupt(pixels, name, severity, torch.Generator().manual_seed(key))
                yield column, (corrupted * scale + shift).contiguous(memory_format=torch.channels_last), labels
            else:
                yield column, images, labels


def _batches_of_files(
    splits: Mapping[Cell, Split], data: DataSet, device: torch.device, workers: int
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """All batches of each cell: the cell's position, normalised images channels last, labels."""
    for column, split in enumerate(splits.values()):
        for images, labels in eval_batches(
            split, data, batch_size=eval_batch_size(data), device=device, workers=workers
        ):
            yield column, images, labels


def _by_name(accuracies: list[float], cells: Sequence[Cell]) -> dict[str, Any]:
    by_cell = dict(zip(cells, accuracies, strict=True))
    clean = by_cell.pop(_CLEAN)
    by_name: dict[str, list[float]] = {}
    for (name, _), accuracy in by_cell.items():
        by_name.setdefault(name, []).append(accuracy)
    return {"top1": by_name, "mean_top1": sum(by_cell.values()) / len(by_cell), "clean_top1": clean}
