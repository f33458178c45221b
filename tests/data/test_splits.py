from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stkd.core.errors import StkdError
from stkd.data.base import UNLABELLED, ImageFiles, Split
from stkd.data.splits import draw_stratified, hold_out, labelled_subset, take


def split_of(sizes: list[int], unlabelled: int = 0, seed: int = 0) -> Split:
    """Images whose pixel is their position."""
    labels = np.repeat([*range(len(sizes)), UNLABELLED], [*sizes, unlabelled])
    labels = np.random.default_rng(seed).permutation(labels).astype(np.int64)
    names = tuple(str(i) for i in range(len(labels)))
    return Split(ImageFiles(Path(), names, 3, 8), labels)


def positions(split: Split) -> list[int]:
    assert isinstance(split.images, ImageFiles)
    return [int(name) for name in split.images.names]


@settings(max_examples=150, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    share=st.floats(0, 1),
    unlabelled=st.integers(0, 20),
    seed=st.integers(0, 9),
)
def test_subset_is_stratified_for_any_count(sizes: list[int], share: float, unlabelled: int, seed: int) -> None:
    split = split_of(sizes, unlabelled, seed)
    total = sum(sizes)
    count = len(sizes) + round(share * (total - len(sizes)))
    subset = labelled_subset(split, count, seed)
    drawn = positions(subset)
    assert len(subset) == count
    assert drawn == sorted(set(drawn))
    np.testing.assert_array_equal(subset.labels, split.labels[drawn])
    taken = np.bincount(subset.labels, minlength=len(sizes))
    assert taken.min() >= 1
    quota = count * np.array(sizes) / total
    assert (taken <= np.maximum(1, np.ceil(quota))).all()
    if quota.min() >= 1:
        assert (np.abs(taken - quota) < 1).all()


@settings(max_examples=100, deadline=None)
@given(
    sizes=st.lists(st.integers(2, 50), min_size=2, max_size=10),
    fraction=st.floats(0.01, 0.99),
    unlabelled=st.integers(0, 20),
    seed=st.integers(0, 9),
)
def test_hold_out_is_disjoint_and_complete(sizes: list[int], fraction: float, unlabelled: int, seed: int) -> None:
    split = split_of(sizes, unlabelled, seed)
    classes = [str(i) for i in range(len(sizes))]
    count = round(fraction * sum(sizes))
    if not len(sizes) <= count <= sum(sizes) - len(sizes):
        with pytest.raises(StkdError, match="use a share from"):
            hold_out(split, fraction, classes, seed)
        return
    rest, held = hold_out(split, fraction, classes, seed)
    assert len(held) == count
    assert sorted(positions(rest) + positions(held)) == list(range(len(split)))
    assert set(held.labels.tolist()) == set(range(len(sizes)))
    assert set(rest.labels.tolist()) >= set(range(len(sizes)))
    assert (rest.labels == UNLABELLED).sum() == unlabelled


def test_same_seed_same_images_other_seed_others() -> None:
    split = split_of([30, 40, 50])
    classes = ["a", "b", "c"]
    first = [positions(part) for part in hold_out(split, 0.2, classes, 3)]
    assert first == [positions(part) for part in hold_out(split, 0.2, classes, 3)]
    assert first != [positions(part) for part in hold_out(split, 0.2, classes, 4)]
    assert positions(labelled_subset(split, 24, 3)) != first[1]


def test_draws_do_not_change_between_versions() -> None:
    """Pinned: a run that is resumed after an upgrade has to see the same split."""
    labels = np.arange(20) % 2
    assert draw_stratified(labels, 6, keep=1, rng=np.random.default_rng((0, 1))).tolist() == PINNED


PINNED = [2, 3, 6, 7, 15, 18]


def test_global_random_state_is_left_alone() -> None:
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    labelled_subset(split_of([5, 5]), 4, 0)
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_take_keeps_views_of_neighbours() -> None:
    images = np.arange(40, dtype=np.uint8).reshape(10, 1, 2, 2)
    split = Split(images, np.arange(10))
    assert np.shares_memory(take(split, np.arange(3, 7)).images, images)
    picked = take(split, np.array([1, 5, 6]))
    np.testing.assert_array_equal(picked.images, images[[1, 5, 6]])
    np.testing.assert_array_equal(picked.labels, [1, 5, 6])


@pytest.mark.parametrize(
    ("sizes", "unlabelled", "count", "message"),
    [
        ([5, 5], 3, 11, "only 10 labelled"),
        ([5, 5, 5], 0, 2, "there are 3 classes; ask for at least one"),
        ([], 4, 1, "only 0 labelled"),
    ],
)
def test_impossible_subsets(sizes: list[int], unlabelled: int, count: int, message: str) -> None:
    with pytest.raises(StkdError, match=message):
        labelled_subset(split_of(sizes, unlabelled), count, 0)


def test_impossible_hold_outs() -> None:
    with pytest.raises(StkdError, match="class 'b' has one image"):
        hold_out(split_of([5, 1]), 0.5, ["a", "b"], 0)
    with pytest.raises(StkdError, match="no training image has a label"):
        hold_out(split_of([], 4), 0.5, [], 0)
    with pytest.raises(StkdError, match=r"use a share from 0\.2 to 0\.8"):
        hold_out(split_of([5, 5]), 0.1, ["a", "b"], 0)
