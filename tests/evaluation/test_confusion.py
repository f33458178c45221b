from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import confusion_matrix as reference

from stkd.evaluation import (
    class_accuracy,
    class_change,
    class_intervals,
    confusion_matrix,
    most_mistaken,
    share_interval,
)


def test_confusion_is_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(300, 7, generator=generator), torch.randint(7, (300,), generator=generator)
    values = confusion_matrix(logits, labels)
    assert values.tolist() == reference(labels, logits.argmax(1)).tolist()
    assert int(values.sum()) == 300


def test_change_of_each_class() -> None:
    student, alone = torch.tensor([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), torch.tensor([[4, 0, 0], [2, 2, 0], [0, 0, 0]])
    assert class_accuracy(student).tolist()[:2] == [0.75, 1.0]
    change = class_change(student, alone)
    assert change.tolist()[:2] == [-0.25, 0.5]
    assert change[2].isnan()


@pytest.mark.parametrize(("count", "total"), [(0, 10), (3, 10), (10, 10), (950, 1000), (1, 1)])
def test_intervals_are_wilsons(count: int, total: int) -> None:
    """Wilson, JASA 22 (1927): the formula, with the 97.5 % point of the normal distribution."""
    z, share = 1.959963984540054, count / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    assert share_interval(count, total) == pytest.approx((max(0, centre - half), min(1, centre + half)), abs=1e-12)


def test_classes_have_intervals_and_what_they_are_taken_for() -> None:
    confusion = torch.tensor([[8, 0, 2, 0], [1, 5, 3, 1], [0, 0, 0, 0], [0, 0, 0, 4]])
    assert class_intervals(confusion) == [share_interval(8, 10), share_interval(5, 10), None, share_interval(4, 4)]
    first, second, third, fourth = most_mistaken(confusion, 2)
    assert first == [(2, 2)]
    assert second[0] == (2, 3)
    assert len(second) == 2
    assert third == fourth == []
