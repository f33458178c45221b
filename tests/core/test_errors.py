from __future__ import annotations

import math

import pytest

from stkd.core.errors import SEEDS, StkdError, check_range, unknown


@pytest.mark.parametrize("value", [1, 2, 3, 1.0, 2.5])
def test_both_ends_belong_to_a_range(value: float) -> None:
    check_range("n", value, 1, 3)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "n must be at least 1, got 0"),
        (3.5, "n must be at most 3, got 3.5"),
        (10**12, "n must be at most 3, got 1,000,000,000,000"),
        (10**100, "n must be at most 3, got a number of more than 40 digits"),
        (-math.inf, "n must be at least 1, got -inf"),
        (math.nan, "n must be at least 1, got nan"),
    ],
)
def test_outside_of_a_range(value: float, said: str) -> None:
    with pytest.raises(StkdError) as refused:
        check_range("n", value, 1, 3)
    assert str(refused.value) == said


@pytest.mark.parametrize("seed", [-1, 2**63, 2**64 - 1, 2**70])
def test_seeds_are_what_all_generators_take(seed: int) -> None:
    with pytest.raises(StkdError, match="seed must be at"):
        check_range("seed", seed, *SEEDS)


def test_a_very_long_name_is_unknown_without_a_search() -> None:
    assert "known: cnn2, cnn4" in str(unknown("model", "cnn2" * 1000, ["cnn2", "cnn4"]))
