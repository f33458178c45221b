"""Helpers of the training tests: runs that are stopped at a step, and what two runs must share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from stkd.training.step import Step


class Killed(BaseException):
    """Stands for `kill -9`: nothing in the package may catch it."""


StopAt = Callable[..., Any]


@pytest.fixture
def act_at(monkeypatch: pytest.MonkeyPatch) -> StopAt:
    """A context in which `action` is called right after the n-th step of this process."""

    @contextmanager
    def context(step: int, action: Callable[[], None]) -> Iterator[None]:
        train_step, made = Step.__call__, 0

        def counted(self: Any, batch: Any) -> None:
            nonlocal made
            train_step(self, batch)
            made += 1
            if made == step:
                action()

        with monkeypatch.context() as patch:
            patch.setattr(Step, "__call__", counted)
            yield

    return context


@pytest.fixture
def killed_at(act_at: StopAt) -> StopAt:
    """A context whose run is killed right after its n-th step; passes without a kill where the run is shorter."""

    def die() -> None:
        raise Killed

    @contextmanager
    def context(step: int) -> Iterator[None]:
        with act_at(step, die), suppress(Killed):
            yield

    return context


@pytest.fixture
def metrics() -> Callable[[Path], list[dict[str, Any]]]:
    """The rows of metrics.jsonl without what a clock says."""

    def read(run: Path) -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_s")} for row in rows]

    return read


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, float]], None]:
    """Sets the seconds that trials of engines find, 100 for what is not named; the shortest run is worth a trial."""

    def set_times(seconds: Mapping[str, float]) -> None:
        def found(calls: Mapping[str, Any], *_: Any) -> dict[str, float]:
            return {name: seconds.get(name, 100.0) for name in calls}

        monkeypatch.setattr("stkd.training.engines._TRIAL_FROM", {"cpu": 0.0})
        monkeypatch.setattr("stkd.training.session.timed", found)

    return set_times
