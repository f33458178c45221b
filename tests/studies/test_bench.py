"""The benchmark measures the real step, and says what it says it does; how fast a machine is decides nothing here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from stkd import models
from stkd.core.errors import StkdError
from stkd.studies.bench import BenchResult, bench
from stkd.studies.bench.bare import bare_step
from stkd.studies.bench.bare_process import bare_loop
from stkd.studies.bench.clock import Clock
from stkd.studies.bench.random_data import random_data
from stkd.training.step import Step

TINY = ["--teacher", "cnn4", "--student", "cnn2", "--batch-size", "8", "--pairs", "3", "--seconds", "0.01"]
TINY += ["--compile", "none", "--accelerator", "cpu", "--precision", "32", "--teacher-precision", "32"]


@pytest.mark.slow
def test_json_of_the_command(stkd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    learn = Step.learn

    def counted(step: Step, *args: Any) -> None:
        nonlocal steps
        steps += 1
        learn(step, *args)

    monkeypatch.setattr(Step, "learn", counted)
    answer = stkd("bench", *TINY, "--json")
    assert answer.code == 0
    found = json.loads(answer.out)
    assert steps > 10
    assert found["images_per_s"] > 0 < found["bare_images_per_s"]
    ratios = sorted(ours / bare for bare, ours in found["pairs"])
    assert len(ratios) == 3
    assert found["ratio"] == pytest.approx(ratios[1], rel=0.05)
    parts = ["data", "augment", "mix", "teacher", "student_forward", "backward", "optimizer", "rest"]
    assert list(found["parts"]) == parts
    # the rest is what the parts leave of a step, and those are timed one by one: on a busy machine it can be below zero
    assert all(ms >= 0 for part, ms in found["parts"].items() if part != "rest")
    assert all(found["parts"][part] > 0 for part in ("teacher", "student_forward", "backward"))
    assert found["flops"]["achieved"] > 0 < found["memory"]["peak_bytes"]
    assert found["speed"]["student"] == "eager"
    assert list(found["shares"]) == ["data", "teacher", "student_forward", "backward", "optimizer", "rest"]
    assert sum(found["shares"].values()) == pytest.approx(1, abs=1e-3)


def test_table_of_the_command(stkd: Any) -> None:
    answer = stkd("bench", *TINY, "--method", "kd")
    assert answer.code == 0
    assert "times the bare float32 loop" in answer.out
    assert "student forward" in answer.out
    assert "int8 was left out; give --teacher-weights" in answer.out


@pytest.mark.slow
def test_trained_teacher(teacher_run: Path, stkd: Any) -> None:
    flags = [*TINY[2:], "--teacher-weights", str(teacher_run), "--pairs", "1", "--json"]
    answer = stkd("bench", *flags)
    assert answer.code == 0
    found = json.loads(answer.out)
    assert (found["teacher"], found["teacher_weights"], found["image_size"]) == ("cnn4", "trained", 8)
    missing = stkd("bench", *TINY[2:])
    assert (missing.code, missing.err.count("\n")) == (2, 1)
    assert "give --teacher NAME, or --teacher-weights RUN" in missing.err


def test_without_options_it_is_what_a_long_run_would_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def found(calls: Mapping[str, Callable[[], object]], *_: Any) -> dict[str, float]:
        asked.extend(calls)
        return {name: 0.5 if name == "bf16" else 1.0 for name in calls}

    monkeypatch.setattr("stkd.training.session.timed", found)
    monkeypatch.setattr("stkd.training.engine_options.fast_bfloat16", lambda device: True)
    short = {"batch_size": 8, "image_size": 8, "pairs": 1, "seconds": 0.01}
    result = bench("cnn4", "cnn2", compile="none", accelerator="cpu", **short)  # type: ignore[arg-type]
    assert (result.precision, result.speed["by"]) == ("bf16-mixed", "trial")
    assert "bf16 by torch" in asked
    assert not any("int8" in name for name in asked), "weights are random"


@pytest.mark.parametrize(
    ("flag", "value", "words"), [("--student", "resnet21", "did you mean"), ("--pairs", "0", "must be at least 1")]
)
def test_refused(flag: str, value: str, words: str, stkd: Any) -> None:
    answer = stkd("bench", *TINY, flag, value)
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert words in answer.err


def test_a_part_inside_another_counts_once(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr("stkd.studies.bench.clock.time.perf_counter", lambda: now)
    clock = Clock(torch.device("cpu"))
    owner = SimpleNamespace(inner=lambda: passes(5))

    def outer() -> None:
        passes(1)
        owner.inner()
        passes(2)

    inner = owner.inner
    with clock.on((owner, "inner", "inner")):
        clock.wrap("outer", outer)()
    assert owner.inner is inner
    assert clock.seconds == {"inner": 5, "outer": 3}


@pytest.mark.parametrize("bf16", [False, True])
def test_bare_loop_learns(bf16: bool) -> None:
    torch.manual_seed(0)
    teacher, student = (models.create("cnn2", num_classes=4) for _ in range(2))
    images, labels = torch.randn(32, 3, 16, 16), torch.randint(4, (32,))
    step = bare_step(teacher, student, images, labels, 16, bf16=bf16)

    def distance(model: nn.Module) -> float:
        with torch.no_grad():
            return float((model.eval()(images).softmax(1) - teacher(images).softmax(1)).abs().sum())

    before = distance(student)
    student.train()
    for _ in range(60):
        step()
    assert not teacher.training
    assert distance(student) < before


@pytest.mark.slow
def test_the_bare_loop_runs_apart_and_says_why_it_ended() -> None:
    data, cpu = random_data(16, 8, 3), torch.device("cpu")
    with bare_loop("cnn4", "cnn2", data, 4, cpu) as rate:
        assert rate(2) > 0 < rate(1)
    with pytest.raises(StkdError, match=r"bare loop ended: .*cnn5"), bare_loop("cnn5", "cnn2", data, 4, cpu):
        pass


def test_the_result_is_typed_and_json_has_its_fields() -> None:
    result = bench(
        *("cnn4", "cnn2"),
        batch_size=8,
        pairs=1,
        seconds=0.01,
        compile="none",
        accelerator="cpu",
        precision="32",
        teacher_precision="32",
    )
    assert isinstance(result, BenchResult)
    ((bare, ours),) = result.pairs
    assert (result.images_per_s, result.bare_images_per_s) == (ours, bare)
    assert result.flops.share == pytest.approx(result.flops.achieved / result.flops.product_rate, abs=1e-3)
    told = json.loads(json.dumps(result.as_dict()))
    assert list(told) == [field.name for field in dataclasses.fields(BenchResult)]
    assert told["flops"]["dtype"] == "float32"
    assert told["memory"]["peak_bytes"] == result.memory.peak_bytes
