"""Another order of outputs is found where there is one, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stkd.preflight.answers import Answers
from stkd.preflight.orders import better_order, mcnemar


def answers(labels: np.ndarray, given_: np.ndarray) -> Answers:
    return Answers("training images", labels, given_, {})


@given(st.integers(2, 40), st.integers(0, 2**32 - 1), st.floats(0.0, 0.5))
def test_a_sound_teacher_keeps_its_order(classes: int, seed: int, mistakes: float) -> None:
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(classes), 20)
    said = np.where(rng.random(len(labels)) < mistakes, rng.integers(0, classes, len(labels)), labels)
    assert better_order(answers(labels, said), classes) is None


@given(st.integers(3, 40), st.integers(0, 2**32 - 1), st.floats(0.0, 0.15))
def test_a_permutation_is_found_exactly(classes: int, seed: int, mistakes: float) -> None:
    rng = np.random.default_rng(seed)
    place = rng.permutation(classes)  # class c is output place[c]
    labels = np.tile(np.arange(classes), 40)
    said = np.where(rng.random(len(labels)) < mistakes, rng.integers(0, classes, len(labels)), place[labels])
    order = better_order(answers(labels, said), classes)
    if (place == np.arange(classes)).all():
        assert order is None
    else:
        assert order is not None
        assert (order.outputs == place).all()
        assert order.right > order.given


@pytest.mark.parametrize("classes", [10, 100])
def test_two_swapped_classes_are_found(classes: int) -> None:
    labels = np.tile(np.arange(classes), 20)
    place = np.arange(classes)
    place[[3, 7]] = 7, 3
    order = better_order(answers(labels, place[labels]), classes)
    assert order is not None
    assert (order.outputs == place).all()


def test_chance_has_no_better_order() -> None:
    rng = np.random.default_rng(0)
    found = sum(
        better_order(answers(np.tile(np.arange(10), 100), rng.integers(0, 10, 1000)), 10) is not None for _ in range(50)
    )
    assert found == 0


def test_an_untrained_network_is_not_taken_for_one_in_another_order() -> None:
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(10), 100)
    said = np.where(rng.random(1000) < 0.1, (labels + 1) % 10, rng.integers(0, 10, 1000))  # a little to do with them
    assert better_order(answers(labels, said), 10) is None


def test_mcnemar_against_its_definition() -> None:
    ours = np.array([True] * 10 + [False] * 5)
    assert mcnemar(ours, ours) == 1.0
    assert mcnemar(np.ones(10, bool), np.zeros(10, bool)) == pytest.approx(0.5**10)
