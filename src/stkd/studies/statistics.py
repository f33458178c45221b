"""What a few seeds can say about a difference: interval by bootstrap, exact paired test, Holm's correction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

import numpy as np
from scipy import stats

__all__ = ["Difference", "holm", "paired_difference", "summary"]

_RESAMPLES = 9999
"""Resamples of the bootstrap; tests of up to 13 pairs have fewer sign patterns than this and are exact."""


@dataclass(frozen=True)
class Difference:
    """A difference between two methods that ran with the same seeds.

    Attributes:
        difference: Mean of the paired differences.
        low, high: Interval of the mean at 95 %, percentiles of the bootstrap over pairs (Efron, 1979).
        p: Two-sided p-value of the sign-flip test (Fisher's permutation test for pairs); with n pairs never below
            2 / 2^n, which is 0.25 for 3 and 0.0625 for 5.
        pairs: Seeds that both methods have.
    """

    difference: float
    low: float
    high: float
    p: float
    pairs: int


def paired_difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> Difference | None:
    """How a method differs from a baseline, seed by seed.

    Percentiles, and not BCa, since the jackknife behind BCa says nothing with three to five pairs.

    Args:
        values: Seed to value.
        baseline: The same of the baseline.

    Returns:
        The difference; None with fewer than two common seeds.
    """
    seeds = sorted(set(values) & set(baseline))
    if len(seeds) < 2:
        return None
    differences = np.array([values[s] - baseline[s] for s in seeds])
    interval = stats.bootstrap(
        (differences,), np.mean, n_resamples=_RESAMPLES, method="percentile", rng=0
    ).confidence_interval
    test = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=True, n_resamples=_RESAMPLES, rng=0
    )
    return Difference(
        float(differences.mean()), float(interval.low), float(interval.high), float(test.pvalue), len(seeds)
    )


def holm(p: Sequence[float]) -> list[float]:
    """P-values corrected for their number by Holm's step-down procedure (Scandinavian Journal of Statistics, 1979).

    Args:
        p: P-values of all comparisons that were made.

    Returns:
        Corrected ones in the same order; each may be compared with the usual level.
    """
    corrected = [0.0] * len(p)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[place]))
        corrected[place] = largest
    return corrected


def summary(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation; None for the deviation of a single value."""
    return mean(values), stdev(values) if len(values) > 1 else None
