from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD, AdamW

from stkd.core.config import TrainConfig
from stkd.core.errors import StkdError
from stkd.training.optim import make_optimizer, make_schedule

STEPS = 4


def config(**options: Any) -> TrainConfig:
    return TrainConfig(data="digits", model="cnn2", out=Path("run"), **options)


def rates(lr: float = 0.4, **options: Any) -> list[float]:
    """The learning rate of each step of a run."""
    given = config(**options)
    optimizer = make_optimizer(given, [torch.nn.Parameter(torch.zeros(1))], lr)
    schedule = make_schedule(given, optimizer, STEPS)
    found = []
    for _ in range(given.epochs * STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_optimizers_get_their_options() -> None:
    weight = torch.nn.Parameter(torch.zeros(1))
    sgd = make_optimizer(config(momentum=0.8, nesterov=True, weight_decay=0.01), [weight], 0.3)
    assert isinstance(sgd, SGD)
    group = sgd.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (0.3, 0.8, True, 0.01)
    adamw = make_optimizer(config(optimizer="adamw", weight_decay=0.02), [weight], 0.001)
    assert isinstance(adamw, AdamW)
    assert adamw.param_groups[0]["weight_decay"] == 0.02


def test_cosine() -> None:
    expected = [0.2 * (1 + math.cos(math.pi * i / 20)) for i in range(20)]
    assert rates(epochs=5, schedule="cosine") == pytest.approx(expected)


def test_constant() -> None:
    assert rates(epochs=2, schedule="constant") == [0.4] * 8


@pytest.mark.parametrize("milestones", [(5.0, 8.0), (0.5, 0.8), (0.5, 8.0)], ids=["epochs", "shares", "both"])
@pytest.mark.parametrize("warmup", [0.0, 2.0])
def test_multistep(milestones: tuple[float, ...], warmup: float) -> None:
    """Milestones count from the start of the run, with or without warm-up."""
    found = rates(epochs=10, schedule="multistep", milestones=milestones, gamma=0.1, warmup_epochs=warmup)
    start = round(warmup * STEPS)
    assert found[start : 5 * STEPS] == pytest.approx([0.4] * (5 * STEPS - start))
    assert found[5 * STEPS : 8 * STEPS] == pytest.approx([0.04] * 3 * STEPS)
    assert found[8 * STEPS :] == pytest.approx([0.004] * 2 * STEPS)


@pytest.mark.parametrize("schedule", ["cosine", "constant", "multistep"])
def test_warm_up_rises_linearly_to_the_peak(schedule: str) -> None:
    found = rates(epochs=10, schedule=schedule, warmup_epochs=1.5)
    assert found[:7] == pytest.approx([0.4 * (0.01 + 0.99 * i / 6) for i in range(7)])
    assert max(found) == pytest.approx(0.4)


@pytest.mark.parametrize(("warmup", "peak"), [(0.0, 0.3), (2.0, 0.2)])
def test_onecycle(warmup: float, peak: float) -> None:
    found = rates(epochs=10, schedule="onecycle", warmup_epochs=warmup)
    assert max(found) == pytest.approx(0.4)
    assert found.index(max(found)) == round(peak * 40) - 1
    assert found[0] == pytest.approx(0.4 / 25)
    assert found[-1] < 1e-4


@pytest.mark.parametrize("milestones", [(150.0,), (2.0, 4.0)])
def test_milestones_beyond_the_end(milestones: tuple[float, ...]) -> None:
    with pytest.raises(StkdError, match="before the last of 4 epochs"):
        rates(epochs=4, schedule="multistep", milestones=milestones)


def test_crd_recipe_falls_when_the_paper_says() -> None:
    options = {"epochs": 240, "schedule": "multistep", "milestones": (150, 180, 210), "gamma": 0.1}
    found = rates(lr=0.05, **options)
    by_epoch = [found[e * STEPS] for e in (0, 149, 150, 179, 180, 209, 210, 239)]
    assert by_epoch == pytest.approx([0.05, 0.05, 0.005, 0.005, 0.0005, 0.0005, 0.00005, 0.00005])
