"""Engines whose times the tests give, and tiny sessions and runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import stkd as package
from stkd import models
from stkd.core.config import DistillConfig
from stkd.studies.bench.random_data import random_data
from stkd.teachers.openvino import can_run
from stkd.training import engine_options
from stkd.training.choice import Choice
from stkd.training.engines import Known
from stkd.training.session import Job, Session, open_session

TINY: dict[str, Any] = {"epochs": 2, "train_images": 96, "batch_size": 16, "precision": "32", "accelerator": "cpu"}
LONG = 10**7  # epochs
needs_openvino = pytest.mark.skipif(not can_run("32"), reason="needs openvino")
needs_int8 = pytest.mark.skipif(not can_run("int8"), reason="needs openvino and nncf")


class Times:
    """A timer that looks at no clock.

    Args:
        seconds: Of each call by name; others take a second.
    """

    def __init__(self, seconds: Mapping[str, float] | None = None) -> None:
        self.seconds, self.asked = dict(seconds or {}), list[str]()

    def __call__(
        self,
        calls: Mapping[str, Callable[[], object]],
        device: torch.device,
        between: Callable[[], object] | None = None,
    ) -> dict[str, float]:
        self.asked += calls
        for call in calls.values():
            call()
        return {name: self.seconds.get(name, 1.0) for name in calls}


def nobody_looks(*_: Any) -> Any:
    raise AssertionError("nothing is to be timed")


@pytest.fixture
def fast_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with bf16, whatever CPU this is."""
    monkeypatch.setattr(engine_options, "fast_bfloat16", lambda device: True)


@contextmanager
def session_of(tmp_path: Path, method: str = "stkd", epochs: int = LONG, **options: Any) -> Iterator[Session]:
    """A tiny session with a teacher of random weights."""
    given: dict[str, Any] = {"teacher": "cnn4", "student": "cnn2", "batch_size": 8, "accelerator": "cpu", **options}
    config = DistillConfig(data="random", out=tmp_path / "run", method=method, epochs=epochs, **given)
    data = random_data(32, 8, 4)
    teacher = models.create("cnn4", num_classes=4, image_size=8)
    with open_session([Job.of(config)], data=data, teacher=teacher) as session:
        yield session


def chosen(tmp_path: Path, times: Any, known: Known | None = None, **options: Any) -> Choice:
    with session_of(tmp_path, **options) as session:
        return session.choose_engines(known, times)


class Instant(nn.Module):
    """What an instant compiler gives."""

    def __init__(self, module: nn.Module, **_: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        return answer(self.module, images)


def answer(module: nn.Module, images: Tensor) -> Tensor:
    logits: Tensor = module(images)
    return logits


def distil(teacher: Path, out: Path, method: str = "stkd", **options: Any) -> dict[str, Tensor]:
    """The student's weights after a tiny run."""
    package.distill(str(teacher), "cnn2", "digits", method, out=out, **{**TINY, **options})
    return load_file(out / "student.safetensors")


def engines_of(out: Path) -> list[dict[str, Any]]:
    """What env.json says of each start."""
    environment = json.loads((out / "env.json").read_text())
    return [environment["engines"], *(start["engines"] for start in environment.get("resumed", []))]


def result(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "result.json").read_text())["speed"]
    return found
