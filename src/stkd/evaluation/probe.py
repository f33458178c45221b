"""A linear probe: a classifier fitted on the frozen features of a model, by multinomial logistic regression."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.errors import StkdError
from ..data.base import UNLABELLED
from ..data.splits import draw_stratified

__all__ = ["MOST_IMAGES", "Probe", "fit_probe"]

MOST_IMAGES = 20_000
"""Images that a head needs at most, the same share of each class: more hardly change it and take minutes."""

_SHARE = 0.2  # of the images, held out to choose the strength
_STRENGTHS = tuple(10.0 ** (step / 2) for step in range(-10, 3))
_USUAL = 1e-3  # where no class has an image to spare
_ITERATIONS = 1000


@dataclass(frozen=True)
class Probe:
    """A linear classifier of features.

    Attributes:
        weight: float32 (C, D), for features as they come from the model.
        bias: float32 (C,).
        strength: Inverse strength of the L2 penalty on standardised features: scikit-learn's C.
        images: Number of images that it was fitted on.
        held_out: Number of those that the strength was chosen on, before it was fitted on all.
        right: Share of these that were classified right, by a fit on the others; NaN where there were none.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    strength: float
    images: int
    held_out: int
    right: float


def fit_probe(features: NDArray[np.float32], labels: NDArray[np.int64], classes: Sequence[str]) -> Probe:
    """Fit a classifier; the same features always give the same one.

    Features are standardised. The strength of the penalty is the one with the least cross-entropy on a stratified fifth
    of the images; then all images are fitted. The standardisation is folded into the weights.

    Args:
        features: (N, D).
        labels: (N,); images that are `UNLABELLED` are left out.
        classes: Names of the C classes, position = label.

    Raises:
        StkdError: There are fewer than two classes, or a class has no image.

    Source: Alain & Bengio, Understanding intermediate layers using linear classifier probes, ICLR 2017 workshop.
    """
    known = np.flatnonzero(labels != UNLABELLED)
    x, y = features[known].astype(np.float64), labels[known]
    counts = np.bincount(y, minlength=len(classes))
    if len(classes) < 2 or not counts.all():
        lacking = [name for name, count in zip(classes, counts, strict=True) if not count]
        what = f"class {lacking[0]!r} has no labelled training image" if lacking else "there is one class"
        raise StkdError(f"a probe cannot be fitted: {what}; add images, or remove the class")
    mean, deviation = x.mean(0), x.std(0)
    deviation[deviation < 1e-12] = 1.0
    x = (x - mean) / deviation
    strength, held_out, right = _strength(x, y, counts)
    weight, bias = _fit(x, y, strength, None)
    weight = weight / deviation
    bias = bias - weight @ mean
    return Probe(weight.astype(np.float32), bias.astype(np.float32), strength, len(y), held_out, right)


def _strength(x: NDArray[np.float64], y: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[float, int, float]:
    """The best strength, the number of images held out for that, and the share of them that is right with it."""
    spare = counts[y] >= 2
    classes = int((counts >= 2).sum())
    if not classes:
        return _USUAL, 0, float("nan")
    number = min(max(classes, round(_SHARE * int(spare.sum()))), int(spare.sum()) - classes)
    held = draw_stratified(np.where(spare, y, UNLABELLED), number, keep=1, rng=np.random.default_rng(0))
    rest = np.setdiff1d(np.arange(len(y)), held)
    start: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    best = (float("inf"), _USUAL, 0.0)
    for strength in _STRENGTHS:
        start = _fit(x[rest], y[rest], strength, start)
        logits = x[held] @ start[0].T + start[1]
        logits -= logits.max(1, keepdims=True)
        loss = float((np.log(np.exp(logits).sum(1)) - logits[np.arange(len(held)), y[held]]).mean())
        if loss >= best[0]:
            break  # it falls and then rises; the weak penalties beyond take longest to fit
        best = (loss, strength, float((logits.argmax(1) == y[held]).mean()))
    return best[1], len(held), best[2]


def _fit(
    x: NDArray[np.float64],
    y: NDArray[np.int64],
    strength: float,
    start: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights (C, D) and biases (C,) of one logit a class, also where there are two classes.

    Args:
        x: Standardised features (N, D).
        y: Labels (N,), each of the C classes at least once.
        strength: Scikit-learn's C.
        start: Weights and biases to begin with.
    """
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=strength, solver="lbfgs", max_iter=_ITERATIONS, warm_start=start is not None)
    if start is not None:
        weight, bias = start
        two = len(weight) == 2  # which scikit-learn tells apart by one logit, the difference of ours
        model.coef_ = weight[1:] - weight[:1] if two else weight
        model.intercept_ = bias[1:] - bias[:1] if two else bias
        model.classes_ = np.unique(y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it did not converge: the fit is as good as it will be
        model.fit(x, y)
    weight, bias = model.coef_, model.intercept_
    return (
        (np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2]))
        if len(bias) == 1
        else (
            weight,
            bias,
        )
    )
