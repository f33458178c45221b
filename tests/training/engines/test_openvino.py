"""Teachers in OpenVINO, in lower precision."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import stkd as package
from stkd import models
from stkd.teachers import engines as teacher_engines
from stkd.teachers.openvino import Engine
from stkd.training import engine_options

from .conftest import Times, chosen, distil, needs_int8, nobody_looks, result, session_of


@needs_int8
@pytest.mark.parametrize(("agreement", "precision"), [(0.0, "int8"), (1.1, "32")])
def test_int8_is_taken_where_the_teacher_stays_itself(
    agreement: float, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_options, "fast_bfloat16", lambda device: False)
    monkeypatch.setattr(teacher_engines, "_AGREEMENT", agreement)
    monkeypatch.setattr(teacher_engines, "_KL", 1.0)
    levels = []
    compare = teacher_engines._compared

    def watched(teacher: Any, runner: Any, batches: Iterator[Tensor], temperature: float) -> Any:
        kept = list(batches)
        levels.append(torch.cat(kept).unique().numel())
        return compare(teacher, runner, iter(kept), temperature)

    monkeypatch.setattr(teacher_engines, "_compared", watched)
    times = Times({"int8 by OpenVINO": 0.1, "float32 by OpenVINO": 0.5})
    with session_of(tmp_path, compile="none") as session:
        choice = session.choose_engines(None, times)
        assert session.teacher is not None
        (record,) = session.teacher.record
    assert choice.teachers is not None
    assert (choice.teachers[0].library, choice.teachers[0].precision) == ("openvino", precision)
    assert "int8" in record
    real, virtual = levels
    assert real <= 256 < virtual  # classes are compared on images of 8 bits, not on weighted sums of them


def test_a_teacher_in_lower_precision_must_stay_itself(
    tmp_path: Path, fast_bf16: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    options = {"compile": "none", "teacher_engine": "torch"}
    monkeypatch.setattr(teacher_engines, "_KL", 1.0)
    monkeypatch.setattr(teacher_engines, "_AGREEMENT", 0.0)
    assert "teacher in bf16" in str(chosen(tmp_path, Times({"bf16 by torch": 0.5}), **options))
    monkeypatch.setattr(teacher_engines, "_AGREEMENT", 1.1)
    far = chosen(tmp_path, Times({"bf16 by torch": 0.5}), **options)
    assert "teacher in float32" in str(far)
    assert any("the teacher in bf16 by torch is too far from itself" in line for line in caplog.messages)
    asked = chosen(tmp_path, Times({"bf16 by torch": 0.5}), teacher_precision="bf16", **options)
    assert "teacher in bf16" in str(asked), "what was asked for is taken"


@needs_int8
def test_engine_answers_as_its_model() -> None:
    torch.manual_seed(0)
    model = models.create("cnn4", num_classes=4).eval()
    batches = [torch.randn(8, 3, 16, 16) for _ in range(4)]
    with torch.no_grad():
        expected = model(batches[0])
    for precision, tolerance in (("32", 1e-5), ("bf16", 0.05), ("int8", 0.1)):
        found = Engine(model, precision, batches)(batches[0].to(memory_format=torch.channels_last))  # type: ignore[arg-type]
        assert found.dtype == torch.float32
        assert (found - expected).norm() < tolerance * expected.norm()


@needs_int8
def test_int8_teacher_resumes_exactly(teacher_run: Path, tmp_path: Path, killed_at: Callable[..., Any]) -> None:
    options = {"teacher_precision": "int8", "checkpoint_minutes": 1e-9}
    whole = distil(teacher_run, tmp_path / "whole", **options)
    with killed_at(4):
        distil(teacher_run, tmp_path / "parts", **options)
    parts = distil(teacher_run, tmp_path / "parts", **options)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    teacher = result(tmp_path / "whole")["teachers"][0]
    assert teacher["precision"] == "int8"
    assert teacher["int8"] == result(tmp_path / "parts")["teachers"][0]["int8"]
    assert 0.9 < teacher["int8"]["agreement"] <= 1


@needs_int8
def test_int8_with_real_rows_beside_virtual_ones(tmp_path: Path) -> None:
    options = {"teacher_precision": "int8", "precision": "32", "compile": "none", "beside": True}
    with session_of(tmp_path, **options) as session:
        session.choose_engines(None, nobody_looks)
        assert session.teacher is not None
        assert session.teacher(next(session.loader.epoch(0))).shape == (16, 4)
        assert "int8" in session.teacher.record[0]


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stkd.teachers.openvino.can_run", lambda precision: False)
    for options in ({"teacher_precision": "int8"}, {"teacher_engine": "openvino"}):
        with pytest.raises(package.StkdError, match=r"pip install 'stkd\[openvino\]'"):
            chosen(tmp_path, nobody_looks, precision="32", compile="none", **options)


@pytest.mark.slow
@needs_int8
def test_a_signal_after_engines_does_not_end_the_process(teacher_run: Path, tmp_path: Path) -> None:
    """An int8 engine that is given up, engines of several teachers, and those of the run before."""
    script = """
import signal, sys
import stkd
from stkd.teachers import engines
from stkd.training import engine_options, session, trial
from stkd.training import engines as of_training
engine_options.fast_bfloat16 = lambda device: True
of_training._TRIAL_FROM = {"cpu": 0.0}
seconds = {"int8 by OpenVINO": 1.0, "bf16 by OpenVINO": 50.0, "float32 by OpenVINO": 80.0}
def times(calls, *_):
    for call in calls.values():
        call()
    return {name: seconds.get(name, 100.0) for name in calls}
session.timed = times
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
teacher, out = sys.argv[1:]
options = {"epochs": 1, "train_images": 64, "batch_size": 16, "accelerator": "cpu", "compile": "none"}
for run, agreement in enumerate((1.1, 0.0)):
    engines._AGREEMENT, engines._KL = agreement, 1.0
    result = stkd.distill(teacher, "cnn2", "digits", out=f"{out}/{run}", more_teachers=[teacher], **options)
    print([record["precision"] + record["engine"] for record in result.scores["speed"]["teachers"]])
    signal.raise_signal(signal.SIGTERM)
assert len(heard) == 2
"""
    argv = [sys.executable, "-c", script, str(teacher_run), str(tmp_path / "out")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    exact, small = "['32openvino', '32openvino']", "['int8openvino', 'int8openvino']"
    assert done.stdout.splitlines() == [exact, small]
