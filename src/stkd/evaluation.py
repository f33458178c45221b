"""How good and how small a model is: accuracy, NLL, ECE, agreement with the teacher, parameters, MACs, latency."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from .data.base import DataSet, Split
from .data.loader import eval_batches
from .errors import StkdError

__all__ = ["evaluate", "latency", "logits_of", "macs", "parameters", "score", "scores"]

_WARM_UP = 3  # passes before timing
_LONGEST = 4.0  # seconds after which timing ends


@torch.no_grad()
def logits_of(
    model: Callable[[Tensor], Tensor],
    split: Split,
    data: DataSet,
    *,
    device: torch.device,
    workers: int = 0,
) -> tuple[Tensor, Tensor]:
    """Logits float32 (N, C) and labels (N,) of a split, on the CPU."""
    batch_size = 256 if data.size <= 64 else 64
    logits, labels = [], []
    for images, truth in eval_batches(split, data, batch_size=batch_size, device=device, workers=workers):
        logits.append(model(images).float().cpu())
        labels.append(truth.cpu())
    return torch.cat(logits), torch.cat(labels)


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
    from torchmetrics.functional.classification import multiclass_calibration_error

    classes = logits.shape[1]
    probabilities = logits.softmax(1)
    likeliest = logits.topk(min(5, classes)).indices == labels[:, None]
    found = {
        "top1": _share(likeliest[:, 0]),
        "top5": _share(likeliest.any(1)),
        "nll": float(F.cross_entropy(logits, labels)),
        "ece": float(multiclass_calibration_error(probabilities, labels, classes, n_bins=15, norm="l1")),
    }
    if teacher_logits is not None:
        found["agreement"] = _share(logits.argmax(1) == teacher_logits.argmax(1))
        found["teacher_top1"] = _share(teacher_logits.argmax(1) == labels)
    return found


def _share(hits: Tensor) -> float:
    return int(hits.sum()) / len(hits)


def parameters(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


def macs(model: nn.Module, channels: int, size: int) -> int:
    """Multiply-accumulates of one image through convolutions and matrix products (half of torch's FLOP count).

    Args:
        model: In evaluation mode.
        channels, size: Of the image.
    """
    device = next(model.parameters()).device
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, channels, size, size, device=device))
    return int(counter.get_total_flops()) // 2


def _nothing() -> None:
    """A CPU is never ahead of its results."""


@torch.no_grad()
def latency(model: nn.Module, channels: int, size: int, batch_size: int, runs: int = 15) -> float:
    """Median milliseconds of a forward pass in float32, after warm-up, on the model's device.

    Args:
        model: In evaluation mode.
        channels, size: Of the images.
        batch_size: Images in a pass.
        runs: Timed passes, fewer for a model that is slow.
    """
    device = next(model.parameters()).device
    images = torch.zeros(batch_size, channels, size, size, device=device)
    sync: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else _nothing
    times: list[float] = []
    while len(times) < runs + _WARM_UP and (len(times) < 2 * _WARM_UP or sum(times) < _LONGEST):
        sync()
        began = time.perf_counter()
        model(images)
        sync()
        times.append(time.perf_counter() - began)
    return 1000 * median(times[_WARM_UP:])


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
        "params": parameters(model),
        "macs": macs(model, data.channels, data.size),
        "latency_ms_1": latency(model, data.channels, data.size, 1),
        "latency_ms_64": latency(model, data.channels, data.size, 64),
        "threads": torch.get_num_threads(),
        "images": len(labels),
        "split": split,
    }
