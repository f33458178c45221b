"""Predictions of a model on a split, and their scores: accuracy, NLL, ECE, agreement with the teacher."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import StkdError
from ..data.base import DataSet, Split
from ..data.loader import eval_batches
from .calibration import calibration_error

__all__ = ["eval_batch_size", "logits_of", "logits_of_all", "score", "scores"]


def eval_batch_size(data: DataSet) -> int:
    """Images in a pass of evaluation, fewer where they are large."""
    return 256 if data.size <= 64 else 64


def logits_of(
    model: Callable[[Tensor], Tensor],
    split: Split,
    data: DataSet,
    *,
    device: torch.device,
    workers: int = 0,
) -> tuple[Tensor, Tensor]:
    """Logits float32 (N, C) and labels (N,) of a split, on the CPU; see `logits_of_all`."""
    logits, labels = logits_of_all({"": model}, split, data, device=device, workers=workers)
    return logits[""], labels


@torch.no_grad()
def logits_of_all(
    models: Mapping[str, Callable[[Tensor], Tensor]],
    split: Split,
    data: DataSet,
    *,
    device: torch.device,
    workers: int = 0,
) -> tuple[dict[str, Tensor], Tensor]:
    """Logits float32 (N, C) of several models and labels (N,) of a split, on the CPU; images are decoded once.

    Files that are passed over are left out.

    Raises:
        StkdError: A file is broken and may not be left out, or none is left.
    """
    logits: dict[str, list[Tensor]] = {who: [] for who in models}
    labels = []
    # a CPU's caches hold the activations of no more images
    batch_size = min(eval_batch_size(data), 64) if device.type == "cpu" else eval_batch_size(data)
    for images, truth in eval_batches(split, data, batch_size=batch_size, device=device, workers=workers):
        for who, model in models.items():
            logits[who].append(model(images).float().cpu())
        labels.append(truth.cpu())
    if not labels:
        raise StkdError(f"none of {len(split)} images of {data.name} can be decoded; replace the files")
    return {who: torch.cat(parts) for who, parts in logits.items()}, torch.cat(labels)


def score(model: nn.Module, split: Split, data: DataSet, *, device: torch.device, workers: int = 0) -> dict[str, float]:
    """Top-1 accuracy and NLL on a split, the model put back into its mode afterwards; used at each epoch's end."""
    mode = model.training
    model.eval()
    try:
        logits, labels = logits_of(model, split, data, device=device, workers=workers)
    finally:
        model.train(mode)
    return {
        "top1": _share(logits.argmax(1) == labels),
        "nll": float(F.cross_entropy(logits, labels)),
    }


def scores(logits: Tensor, labels: Tensor, teacher_logits: Tensor | None = None) -> dict[str, float]:
    """All scores of a set of predictions.

    Args:
        logits: (N, C).
        labels: (N,).
        teacher_logits: (N, C), for the agreement.

    Returns:
        top1, top5 (with fewer than 5 classes: of all classes), nll (mean, nats), ece (15 bins, l1), and with a teacher
        agreement (share of equal top-1 classes) and teacher_top1.
    """
    hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    values = {
        "top1": _share(hits[:, 0]),
        "top5": _share(hits.any(1)),
        "nll": float(F.cross_entropy(logits, labels)),
        "ece": calibration_error(logits, labels),
    }
    if teacher_logits is not None:
        values["agreement"] = _share(logits.argmax(1) == teacher_logits.argmax(1))
        values["teacher_top1"] = _share(teacher_logits.argmax(1) == labels)
    return values


def _share(hits: Tensor) -> float:
    return int(hits.sum()) / len(hits)
