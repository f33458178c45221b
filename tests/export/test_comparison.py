"""When a file counts as near to its model, and how both are timed."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn

from stkd.export.comparison import Agreement, compare, timed
from stkd.models.files import ModelInfo

INFO = ModelInfo("own", ("a", "b"), 1, 8, (0.25,), (0.5,))


def shown(change: float) -> tuple[Agreement, list[int]]:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2, bias=False)).eval()
    weight = model[1].weight.detach().numpy()
    sizes = []

    def run(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return (((images - 0.25) / 0.5).reshape(len(images), -1) @ weight.T + change).astype(np.float32)

    generator = torch.Generator().manual_seed(0)
    batches = [torch.rand(100, 1, 8, 8, generator=generator), torch.rand(50, 1, 8, 8, generator=generator)]
    return compare(model, INFO, run, batches), sizes


def test_the_model_sees_what_evaluation_shows_it_and_batches_of_all_sizes_are_asked() -> None:
    agreement, sizes = shown(0.0)
    assert sizes == [1, 2, 7, 64, 26, 50]
    assert agreement.images == 150
    assert agreement.near
    assert agreement.largest_difference < 1e-5


def test_a_difference_is_found() -> None:
    agreement, _ = shown(0.1)
    assert agreement.largest_difference == pytest.approx(0.1, abs=1e-4)
    assert agreement.equal_top1 == 1.0
    assert not agreement.near


@pytest.mark.parametrize(
    ("agreement", "near"),
    [
        (Agreement(300, 9e-4, 0.5, 1.0), True),
        (Agreement(300, 9e-4, 0.5, 0.99), False),
        (Agreement(300, 5e-3, 20.0, 1.0), True),
        (Agreement(300, float("nan"), 1.0, 1.0), False),
    ],
)
def test_large_logits_may_differ_by_more_and_nothing_is_near_to_nan(agreement: Agreement, near: bool) -> None:
    assert agreement.near == near


def test_a_slow_function_is_timed_less_often_and_is_the_slower_one() -> None:
    measured = timed({"slow": lambda: time.sleep(0.01), "fast": lambda: None}, passes=30, longest=0.1)
    assert measured["slow"]["median_ms"] >= 10 > measured["fast"]["median_ms"]
    assert measured["slow"]["passes"] == measured["fast"]["passes"] < 30
    for one in measured.values():
        assert one["low_ms"] <= one["median_ms"] <= one["high_ms"]


def test_the_first_pass_of_a_row_is_not_counted() -> None:
    """A runtime's threads keep a core busy for a while after their work, which is not the next one's fault."""
    calls: list[str] = []

    def after_another(name: str) -> None:
        time.sleep(0.02 if calls and calls[-1] != name else 0.001)
        calls.append(name)

    measured = timed({name: lambda name=name: after_another(name) for name in ("one", "other")}, passes=10)
    assert all(of["high_ms"] < 20 for of in measured.values())
