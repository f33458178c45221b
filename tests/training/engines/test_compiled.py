"""Students and teachers that are compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import stkd as package
from stkd import models
from stkd.models.compilation import compiled
from stkd.training.engines import Known

from .conftest import Times, answer, chosen, distil, nobody_looks, result, session_of


@pytest.mark.parametrize(
    ("asked", "student", "teacher"),
    [("all", "compiled", "compiled"), ("teacher", "eager", "compiled"), ("none", "eager", "eager")],
)
def test_what_is_asked_for(asked: str, student: str, teacher: str, teacher_run: Path, tmp_path: Path) -> None:
    distil(teacher_run, tmp_path / "run", compile=asked, epochs=1)
    found = result(tmp_path / "run")
    assert found["student"] == student
    assert found["teachers"][0]["execution"] == teacher


@pytest.mark.parametrize(("method", "execution"), [("stkd", "compiled"), ("at", "eager")])  # at looks at features
def test_compiled_run_is_the_run(method: str, execution: str, teacher_run: Path, tmp_path: Path) -> None:
    plain = distil(teacher_run, tmp_path / "plain", method)
    fast = distil(teacher_run, tmp_path / "fast", method, compile="all")
    assert plain.keys() == fast.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(fast[name], tensor, rtol=2e-3, atol=2e-4, msg=name)
    found = result(tmp_path / "fast")
    assert found["student"] == execution
    assert found["teachers"][0]["execution"] == execution


def test_compiled_run_resumes_exactly(teacher_run: Path, tmp_path: Path, killed_at: Callable[..., Any]) -> None:
    whole = distil(teacher_run, tmp_path / "whole", compile="all")
    with killed_at(4):
        distil(teacher_run, tmp_path / "parts", compile="all", checkpoint_minutes=1e-9)
    parts = distil(teacher_run, tmp_path / "parts", compile="all", checkpoint_minutes=1e-9)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


class Broken(nn.Module):
    """What torch.compile gives where there is no compiler."""

    def __init__(self, module: nn.Module, **_: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        self.module(images)
        raise RuntimeError("no C++ compiler\nand a long traceback")


def test_compiler_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch, "compile", Broken)
    student = models.create("cnn2", num_classes=4)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    assert compiled(student, torch.randn(4, 3, 8, 8), answer) == (student, "eager")
    assert caplog.messages == ["compiling failed, so this run goes uncompiled (RuntimeError: no C++ compiler)"]
    assert all(torch.equal(before[name], tensor) for name, tensor in student.state_dict().items())
    assert all(p.grad is None for p in student.parameters())


def test_a_compiled_run_where_the_compiler_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", Broken)
    with session_of(tmp_path, compile="all") as session:
        choice = session.choose_engines(None, Times())
        assert str(choice) == "teacher in float32 by torch, student in float32", "a new run goes on uncompiled"
    kept = dataclasses.replace(choice, student="compiled")
    with pytest.raises(package.StkdError, match=r"its student compiled, .*--compile none"):
        chosen(tmp_path, nobody_looks, Known(kept=kept))
    gone_on = chosen(tmp_path, nobody_looks, Known(kept=kept, changed=("compile",)), compile="none")
    assert gone_on.student == "eager"


@pytest.mark.slow
def test_a_class_of_models_is_compiled_any_number_of_times(
    teacher_run: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """torch keeps code for eight models of a class; runs of one process are many."""
    for seed in range(10):
        distil(teacher_run, tmp_path / str(seed), "kd", compile="all", epochs=1, train_images=32, seed=seed)
        assert result(tmp_path / str(seed))["student"] == "compiled"
    assert not [str(w.message) for w in recwarn if "recompile" in str(w.message)]


def test_a_cuda_graph_needs_cuda(teacher_run: Path, tmp_path: Path) -> None:
    with pytest.raises(package.StkdError, match="--cuda-graph needs a CUDA device, and this run is on cpu"):
        distil(teacher_run, tmp_path / "run", cuda_graph=True)
