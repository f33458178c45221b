"""What is timed before a run, and what wins."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import stkd as package
from stkd import models
from stkd.core.config import DistillConfig
from stkd.evaluation import macs
from stkd.mixing import Mix
from stkd.teachers.openvino import can_run
from stkd.training.choice import Choice
from stkd.training.engines import Known
from stkd.training.stopwatch import timed
from stkd.training.work import work_of

from .conftest import LONG, Instant, Times, chosen, nobody_looks, session_of


def test_short_runs_and_explicit_options_time_nothing(tmp_path: Path) -> None:
    plain = chosen(tmp_path, nobody_looks, epochs=3)
    assert (plain.by, str(plain)) == ("plain", "teacher in float32 by torch, student in float32")
    explicit = {"precision": "bf16", "teacher_precision": "32", "compile": "none"}
    asked = chosen(tmp_path, nobody_looks, **explicit)
    assert (asked.by, str(asked)) == ("options", "teacher in float32 by torch, student in bf16")


def test_a_run_of_some_minutes_is_plain(tmp_path: Path, fast_bf16: None) -> None:
    times = Times({"students": 1e-8, "teachers": 1e-8, "bf16": 1e-9})
    assert chosen(tmp_path, times).by == "plain"
    assert times.asked == ["students", "teachers"]


@pytest.mark.parametrize("other", [0.95, float("inf")])
def test_what_is_not_faster_by_a_tenth_replaces_nothing(
    other: float, tmp_path: Path, fast_bf16: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No default is slower than the plain float32 loop."""
    monkeypatch.setattr(torch, "compile", Instant)
    plain = dict.fromkeys(("students", "teachers", "float32", "eager", "float32 by torch"), 1.0)

    class Slow(Times):
        def __call__(self, calls: Any, *rest: Any) -> dict[str, float]:
            return super().__call__(calls, *rest) | {name: other for name in calls if name not in plain}

    choice = chosen(tmp_path, Slow(plain))
    assert (choice.by, str(choice)) == ("trial", "teacher in float32 by torch, student in float32")


def test_the_fastest_wins_and_says_so(tmp_path: Path, fast_bf16: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    times = Times({"bf16": 0.3, "bf16 by torch": 0.4, "float32 by torch": 0.8})
    with session_of(tmp_path, teacher_engine="torch", compile="none") as session:
        choice = session.choose_engines(Known(random_weights=True), times)
        assert str(choice) == "teacher in bf16 by torch, student in bf16"
        assert session.fabric.strategy.precision.precision == "bf16-mixed"
        assert session.students[0].fabric is session.fabric
        assert session.students[0].engines["by"] == "trial"
    (line,) = [line for line in caplog.messages if "by trial" in line]
    assert "teacher in bf16 by torch (" in line
    assert "bf16 300 ms" in line
    assert choice.record()["batch_s"]["student"] == {"float32": 1.0, "bf16": 0.3}
    again = Choice.of(json.loads(json.dumps(choice.record())))
    assert again.same_engines(choice)


def test_options_say_what_may_be_tried(tmp_path: Path, fast_bf16: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", Instant)

    def tried(**options: Any) -> set[str]:
        times = Times({"compiled": 9.0})
        chosen(tmp_path, times, Known(random_weights=True), **options)
        return set(times.asked) - {"students", "teachers", "eager", "compiled"}

    none = {"compile": "none", "teacher_engine": "torch"}
    assert tried(**none) == {"float32", "bf16", "float32 by torch", "bf16 by torch"}
    assert tried(**none, precision="32") == set()
    assert tried(**none, teacher_precision="32") == {"float32", "bf16"}
    if can_run("32"):
        assert tried(compile="none", precision="32") == {"float32 by torch", "float32 by OpenVINO"}
    assert tried(compile="none", method="at") == {"float32", "bf16", "float32 by torch", "bf16 by torch"}


@pytest.mark.parametrize(("seconds", "tried"), [(10.0, True), (1e-5, False)])
def test_compiling_is_charged_to_the_run(
    seconds: float, tried: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10,000,000 steps of 10 us are 100 s, of which compiling would save ten at its usual ratio, and it takes 60."""
    options = {"epochs": LONG // 4, "precision": "32", "teacher_precision": "32"}  # four steps an epoch
    times = Times({"students": seconds, "eager": seconds, "compiled": seconds / 2})
    monkeypatch.setattr(torch, "compile", Instant)
    monkeypatch.setattr("stkd.training.trial._LONG", 1.0)
    choice = chosen(tmp_path, times, **options)
    assert ("compiled" in times.asked) == tried
    assert choice.student == ("compiled" if tried else "eager")


def test_a_trial_leaves_no_trace(tmp_path: Path, fast_bf16: None) -> None:
    with session_of(tmp_path, teacher_engine="torch", compile="none") as session:
        student = session.students[0].module
        before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
        torch.manual_seed(3)
        session.choose_engines(None, Times({"bf16": 0.1}))
        drawn = torch.rand(2)
        assert all(torch.equal(before[name], tensor) for name, tensor in student.state_dict().items())
        assert all(p.grad is None for p in student.parameters())
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(2))


def test_the_clock_times_each_call_by_turns() -> None:
    calls = dict.fromkeys("ab", 0)

    def call(name: str) -> Callable[[], None]:
        def count() -> None:
            calls[name] += 1

        return count

    def full() -> None:
        raise torch.OutOfMemoryError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stkd.training.stopwatch._SECONDS", 1e-4)
        patch.setattr("stkd.training.stopwatch._TURN", 1e-5)
        found = timed({"a": call("a"), "b": call("b"), "c": full}, torch.device("cpu"))
    assert min(calls.values()) > 2
    assert found["c"] == float("inf")
    assert 0 < found["a"] < 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "at", "teacher_precision": "int8"}, "'at' looks at the teacher's features"),
        ({"method": "at", "teacher_engine": "openvino"}, "'at' looks at the teacher's features"),
        ({"teacher_precision": "int8", "teacher_engine": "torch"}, "an int8 teacher runs in OpenVINO"),
        (
            {"teacher_engine": "openvino", "mix_until": 0.5, "beside": True, "epochs": 4},
            "batches of one size, and --mix-until --beside change it",
        ),
    ],
)
def test_what_is_not_possible_is_said(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(package.StkdError, match=words):
        chosen(tmp_path, nobody_looks, **options)


def test_real_rows_beside_virtual_ones_are_work_too() -> None:
    config = DistillConfig(data="digits", student="cnn2", out=Path("unused"), epochs=3)
    data, student = package.open_data("digits"), models.create("cnn2", num_classes=10, in_channels=1)
    mixup = Mix(kind="mixup", instances=2)
    plain = work_of(config, student, None, data, mixup)
    assert plain == 3 * macs(student.eval(), 1, 8) * 3 * 21 * 64, "1,297 images are 21 batches, the last one made full"
    assert work_of(config, student, None, data, dataclasses.replace(mixup, beside=True)) == 2 * plain
