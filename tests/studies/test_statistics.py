from __future__ import annotations

from statistics import stdev

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from stkd.studies.statistics import LEVEL, best, holm, paired_difference, summary

# accuracies of two methods with the seeds 0 to 4
ONE = {0: 0.512, 1: 0.498, 2: 0.530, 3: 0.507, 4: 0.521}
TWO = {0: 0.495, 1: 0.501, 2: 0.511, 3: 0.489, 4: 0.502}


def test_paired_difference_on_fixed_numbers() -> None:
    found = paired_difference(ONE, TWO)
    assert found is not None
    assert found.difference == pytest.approx(0.014)
    assert found.pairs == 5
    # by hand: differences 0.017, -0.003, 0.019, 0.018, 0.019; t(0.975, 4) = 2.776 from a table
    error = stdev([0.017, -0.003, 0.019, 0.018, 0.019]) / 5**0.5
    assert found.low == pytest.approx(0.014 - 2.776 * error, abs=1e-5)
    assert found.high == pytest.approx(0.014 + 2.776 * error, abs=1e-5)
    assert found.p == pytest.approx(stats.ttest_rel(list(ONE.values()), list(TWO.values())).pvalue)


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_intervals_cover_what_they_promise(seeds: int) -> None:
    """In 2,000 experiments with a true difference of 0.3; a bootstrap's percentiles cover 77 % at three seeds."""
    rng = np.random.default_rng(0)
    covered = 0
    for values, baseline in rng.normal([[[0.3], [0.0]]], 1.0, (2000, 2, seeds)):
        found = paired_difference(dict(enumerate(values)), dict(enumerate(baseline)))
        assert found is not None
        covered += found.low <= 0.3 <= found.high
        assert (found.p < LEVEL) == (not found.low <= 0 <= found.high), "test and interval agree"
    assert covered / 2000 == pytest.approx(0.95, abs=0.015)


def test_differences_without_scatter_have_no_interval() -> None:
    """Accuracies are whole numbers of images, so two seeds can differ by the same one; that makes nothing certain."""
    assert paired_difference({0: 0.52, 1: 0.51}, {0: 0.50, 1: 0.49}) is None


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


def test_the_best_is_named_where_it_is_shown() -> None:
    ahead = {"a": {0: 0.80, 1: 0.81, 2: 0.79}, "b": {0: 0.70, 1: 0.71, 2: 0.692}, "c": {0: 0.60, 1: 0.607, 2: 0.59}}
    assert best(ahead) == "a"
    assert best({**ahead, "d": {0: 0.795, 1: 0.82, 2: 0.78}}) is None, "another may be as good"
    assert best({**ahead, "d": {0: 0.1}}) is None, "with one seed nothing is known about d"
    assert best({"a": ahead["a"]}) is None, "there is nothing to be better than"
    assert best({"a": ahead["a"], "b": {}}) is None, "b has failed"
    assert best({}) is None


def test_the_best_of_equal_methods_is_rarely_named() -> None:
    """Picking the highest of six equal methods and testing it at 5 % would name one far more often."""
    rng = np.random.default_rng(1)
    named = sum(
        best({str(i): dict(enumerate(v)) for i, v in enumerate(values)}) is not None
        for values in rng.normal(size=(500, 6, 3))
    )
    assert named / 500 <= 0.025
