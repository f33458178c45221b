"""Calibration, whether confidence equals accuracy: reliability bins, ECE, and temperature scaling.

Guo et al., "On calibration of modern neural networks", ICML 2017.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "BINS",
    "ReliabilityBin",
    "calibration",
    "calibration_error",
    "fit_temperature",
    "reliability",
    "scale_by_halves",
]

BINS = 15
"""Equal bins of confidence between 0 and 1."""

_RANGE = (0.02, 50.0)  # of temperatures


@dataclass(frozen=True)
class ReliabilityBin:
    """Predictions of similar confidence: one bar of a reliability diagram.

    Attributes:
        low, high: The bin holds confidences in (low, high].
        confidence: Their mean.
        accuracy: Share of these predictions that are right; calibrated means equal to `confidence`.
        count: Number of predictions.
    """

    low: float
    high: float
    confidence: float
    accuracy: float
    count: int


def reliability(logits: Tensor, labels: Tensor, bins: int = BINS) -> list[ReliabilityBin]:
    """The reliability diagram of a set of predictions; bins without a prediction are left out.

    Args:
        logits: (N, C).
        labels: (N,).
        bins: Number of equal bins of confidence, the probability of the most probable class.
    """
    confidence, predicted = logits.softmax(1).max(1)
    hits = (predicted == labels).double()
    place = (confidence.double() * bins).ceil().long().clamp(1, bins) - 1
    diagram = []
    for i in range(bins):
        inside = place == i
        if not inside.any():
            continue
        mean, accuracy = float(confidence[inside].double().mean()), float(hits[inside].mean())
        diagram.append(ReliabilityBin(i / bins, (i + 1) / bins, mean, accuracy, int(inside.sum())))
    return diagram


def calibration_error(logits: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """ECE: mean over predictions of |accuracy - confidence| of their bin.

    Args:
        logits: (N, C).
        labels: (N,).
        bins: Number of equal bins.
    """
    from torchmetrics.functional.classification import multiclass_calibration_error

    classes = logits.shape[1]
    return float(multiclass_calibration_error(logits.softmax(1), labels, classes, n_bins=bins, norm="l1"))


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature T with the least NLL of softmax(logits / T), to be fitted on images that are not scored.

    Args:
        logits: (N, C).
        labels: (N,).

    Returns:
        T between 0.02 and 50; where every prediction is right there is no least value, and T is at the lower end.
    """
    from scipy.optimize import minimize_scalar

    exact = logits.double()

    def loss(log_temperature: float) -> float:
        return float(F.cross_entropy(exact / math.exp(log_temperature), labels))

    low, high = map(math.log, _RANGE)
    return math.exp(float(minimize_scalar(loss, bounds=(low, high), method="bounded").x))


def scale_by_halves(logits: Tensor, labels: Tensor, seed: int = 0) -> tuple[Tensor, tuple[float, float]]:
    """Temperature scaling without validation images: each half is scaled by what was fitted on the other half.

    Args:
        logits: (N, C), N at least 2.
        labels: (N,).
        seed: Of the split into halves.

    Returns:
        Scaled logits (N, C), none of them by a temperature that has seen its label, and both temperatures.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    one, other = order.chunk(2)
    scaled = torch.empty_like(logits)
    temperatures = fit_temperature(logits[other], labels[other]), fit_temperature(logits[one], labels[one])
    for half, temperature in zip((one, other), temperatures, strict=True):
        scaled[half] = logits[half] / temperature
    return scaled, temperatures


def calibration(logits: Tensor, labels: Tensor, held_out: tuple[Tensor, Tensor] | None = None) -> dict[str, Any]:
    """Calibration before and after temperature scaling; the temperature is never fitted on what it is scored on.

    Args:
        logits: (N, C).
        labels: (N,).
        held_out: Logits and labels of other images, such as the validation split, to fit the temperature on. Without
            them each half of the images is scaled by what was fitted on the other half.

    Returns:
        ece and bins (reliability), scaled_ece, scaled_nll and scaled_bins after scaling, fitted_on ("held-out images"
        or "halves"), and temperatures (one, or one for each half).
    """
    if held_out is not None:
        temperatures: tuple[float, ...] = (fit_temperature(*held_out),)
        scaled = logits / temperatures[0]
    else:
        scaled, temperatures = scale_by_halves(logits, labels)
    return {
        "ece": calibration_error(logits, labels),
        "bins": [asdict(b) for b in reliability(logits, labels)],
        "fitted_on": "halves" if held_out is None else "held-out images",
        "temperatures": list(temperatures),
        "scaled_ece": calibration_error(scaled, labels),
        "scaled_nll": float(F.cross_entropy(scaled, labels)),
        "scaled_bins": [asdict(b) for b in reliability(scaled, labels)],
    }
