from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stkd.data.plan import EpochPlan, Unlabelled, plan_epoch, steps_per_epoch
from stkd.mixing import Mix

REAL = Mix("none", 1)


def same(a: EpochPlan, b: EpochPlan) -> bool:
    tables = all(torch.equal(getattr(a, t), getattr(b, t)) for t in ("order", "crop", "flip"))
    return tables and all(torch.equal(a[i].parts.lam, b[i].parts.lam) for i in range(len(a)))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 2**40), st.integers(0, 500))
def test_epoch(images: int, batch_size: int, seed: int, epoch: int) -> None:
    plan = plan_epoch(images, batch_size, Mix(), seed=seed, epoch=epoch)
    size = min(batch_size, images)
    assert len(plan) == steps_per_epoch(images, batch_size) == math.ceil(images / size)
    assert plan.order.shape == plan.flip.shape == (len(plan), size)
    assert plan.crop.shape == (len(plan), size, 4)
    used = plan.order.flatten()
    assert torch.equal(used[:images].sort().values, torch.arange(images)), "every image once"
    assert torch.equal(used[images:], used[: len(used) - images]), "and the first ones again, to fill the last batch"
    assert all(len(row.unique()) == size for row in plan.order), "none twice in a batch"
    assert bool(((plan.crop >= 0) & (plan.crop < 1)).all())


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 2**40), st.integers(0, 500))
def test_without_the_last_batch(images: int, batch_size: int, seed: int, epoch: int) -> None:
    """The tables are those that were drawn before there was a choice."""
    plan = plan_epoch(images, batch_size, Mix(), seed=seed, epoch=epoch, drop_last=True)
    steps, size = max(1, images // batch_size), min(batch_size, images)
    assert len(plan) == steps_per_epoch(images, batch_size, drop_last=True) == steps
    order = np.random.default_rng([seed, epoch, 0]).permutation(images)[: steps * size].reshape(steps, size)
    rng = np.random.default_rng([seed, epoch, 1])
    assert np.array_equal(plan.order, order)
    assert np.array_equal(plan.crop, rng.random((steps, size, 4), dtype=np.float32))
    assert np.array_equal(plan.flip, rng.random((steps, size)) < 0.5)


def test_depends_on_seed_and_epoch_alone() -> None:
    first = plan_epoch(100, 16, Mix(), seed=3, epoch=4)
    torch.manual_seed(1)
    assert same(first, plan_epoch(100, 16, Mix(), seed=3, epoch=4))
    assert not torch.equal(first.order, plan_epoch(100, 16, Mix(), seed=3, epoch=5).order)
    assert not torch.equal(first.order, plan_epoch(100, 16, Mix(), seed=4, epoch=4).order)
    assert not torch.equal(first.crop, plan_epoch(100, 16, Mix(), seed=3, epoch=5).crop)


@pytest.mark.parametrize("mix", [Mix(), Mix(instances=4, alpha=0.2), Mix("cutmix", per_sample=True), Mix(beside=True)])
def test_mixing_changes_neither_order_nor_crops(mix: Mix) -> None:
    real, mixed = (plan_epoch(100, 16, m, seed=3, epoch=4) for m in (REAL, mix))
    assert torch.equal(real.order, mixed.order)
    assert torch.equal(real.crop, mixed.crop)
    assert torch.equal(real.flip, mixed.flip)


def test_steps_can_be_asked_for_in_any_order() -> None:
    plan = plan_epoch(100, 16, Mix(per_sample=True), seed=3, epoch=4)
    forward = [plan[i].parts.lam for i in range(len(plan))]
    backward = [plan[i].parts.lam for i in reversed(range(len(plan)))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forward, backward, strict=True))
    assert not torch.equal(forward[0], forward[1])
    assert torch.equal(plan[2].index, plan.order[2])


def test_orders_and_flips_are_fair() -> None:
    plans = [plan_epoch(10, 10, REAL, seed=0, epoch=e) for e in range(2000)]
    first = torch.stack([p.order[0, 0] for p in plans]).bincount(minlength=10) / 2000
    torch.testing.assert_close(first, torch.full((10,), 0.1), atol=0.03, rtol=0)
    flips = torch.cat([p.flip.flatten() for p in plans]).float().mean()
    assert abs(float(flips) - 0.5) < 0.02


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 100), st.integers(1, 100), st.integers(2, 64), st.floats(0.01, 100), st.booleans())
def test_unlabelled_images_have_as_many_rows_in_each_batch(
    labelled: int, count: int, batch_size: int, ratio: float, drop_last: bool
) -> None:
    beside = Unlabelled(count, ratio)
    options: dict[str, Any] = {"drop_last": drop_last, "unlabelled": beside}
    plan = plan_epoch(labelled + count, batch_size, Mix(), seed=2, epoch=3, **options)
    size = min(batch_size, labelled + count)
    rows = beside.rows(size)
    assert 1 <= rows < size
    assert abs(rows - size * ratio / (1 + ratio)) <= 1
    assert plan.order.shape == (steps_per_epoch(labelled + count, batch_size, **options), size)
    assert ((plan.order >= labelled).sum(1) == rows).all()
    used = plan.order.flatten()
    own, others = used[used < labelled], used[used >= labelled]
    if not drop_last:
        assert torch.equal(own.unique(), torch.arange(labelled)), "every labelled image"
    assert others.bincount()[labelled:].max() <= -(-len(others) // count), "none again before all were there"
    again = plan_epoch(labelled + count, batch_size, Mix(), seed=2, epoch=3, **options)
    assert torch.equal(plan.order, again.order)
