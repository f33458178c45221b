from __future__ import annotations

from itertools import product
from statistics import mean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stkd.studies.statistics import holm, paired_difference, summary

# accuracies of two methods with the seeds 0 to 4
ONE = {0: 0.512, 1: 0.498, 2: 0.530, 3: 0.507, 4: 0.521}
TWO = {0: 0.495, 1: 0.501, 2: 0.511, 3: 0.489, 4: 0.502}


def by_hand(differences: list[float]) -> float:
    """Share of sign patterns whose mean is at least as far from zero."""
    size = abs(mean(differences))
    means = [mean(s * d for s, d in zip(signs, differences, strict=True)) for signs in product((1, -1), repeat=5)]
    return sum(abs(m) >= size - 1e-12 for m in means) / len(means)


def test_paired_difference_on_fixed_numbers() -> None:
    found = paired_difference(ONE, TWO)
    assert found is not None
    differences = [ONE[s] - TWO[s] for s in range(5)]
    assert found.difference == pytest.approx(0.014)
    assert found.pairs == 5
    assert found.p == pytest.approx(by_hand(differences)) == pytest.approx(0.125)
    # all 5^5 resamples instead of some thousand
    means = [mean(resample) for resample in product(differences, repeat=5)]
    low, high = np.percentile(means, [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=1e-3)
    assert found.high == pytest.approx(high, abs=1e-3)


def test_the_sign_flip_test_agrees_with_wilcoxon_where_they_are_the_same() -> None:
    # differences 1 .. 6 are their own ranks
    values = {s: float(s + 1) for s in range(6)}
    found = paired_difference(values, dict.fromkeys(range(6), 0.0))
    assert found is not None
    assert found.p == pytest.approx(stats.wilcoxon(list(values.values()), method="exact").pvalue)


@pytest.mark.parametrize(("seeds", "smallest"), [(2, 0.5), (3, 0.25), (5, 0.0625)])
def test_smallest_p_of_few_seeds(seeds: int, smallest: float) -> None:
    found = paired_difference({s: 1.0 + s / 100 for s in range(seeds)}, dict.fromkeys(range(seeds), 0.0))
    assert found is not None
    assert found.p == pytest.approx(smallest)


def test_only_common_seeds_are_paired() -> None:
    found = paired_difference(ONE, {1: 0.5, 3: 0.5, 7: 0.1})
    assert found is not None
    assert found.pairs == 2
    assert found.difference == pytest.approx((ONE[1] + ONE[3]) / 2 - 0.5)
    assert paired_difference(ONE, {1: 0.5}) is None


def test_equal_values_differ_by_nothing() -> None:
    found = paired_difference(ONE, ONE)
    assert found is not None
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_the_answer_does_not_change() -> None:
    assert paired_difference(ONE, TWO) == paired_difference(ONE, TWO)


def test_holm_on_fixed_numbers() -> None:
    # statsmodels.stats.multitest.multipletests(p, method="holm")[1]
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.25, 0.25, 0.5]) == pytest.approx([0.75, 0.75, 0.75])
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_order_and_lies_between_nothing_and_bonferroni(p: list[float]) -> None:
    corrected = holm(p)
    assert all(raw <= c <= min(1, len(p) * raw) for raw, c in zip(p, corrected, strict=True))
    order = sorted(range(len(p)), key=p.__getitem__)
    assert [corrected[i] for i in order] == sorted(corrected)


def test_summary() -> None:
    assert summary([1.0, 2.0, 4.0]) == (pytest.approx(7 / 3), pytest.approx(np.std([1, 2, 4], ddof=1)))
    assert summary([0.5]) == (0.5, None)
