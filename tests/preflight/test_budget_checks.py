"""What is said of batches, length, time, disk, and of the student alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from stkd.core.errors import StkdError
from stkd.mixing import Mix
from stkd.preflight import Finding, Subject, check

from .conftest import Reader

Make = Callable[..., Any]
PAIRS = Mix(kind="mixup", instances=2)


def found(subject: Subject, name: str) -> list[Finding]:
    return [finding for of, finding in check(subject).findings if of == name]


def normalised() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))


def test_one_image_in_a_batch(make_data: Make, make_subject: Make) -> None:
    mixing, norm = found(
        make_subject(make_data(), students=[normalised()], mix=PAIRS, batch_size=1, epochs=100), "batches"
    )
    assert mixing.level == norm.level == "warning"
    assert "each image is its own partner" in mixing.message
    assert "batch normalisation" in norm.message
    assert not found(make_subject(make_data(), students=[normalised()], mix=PAIRS, batch_size=2), "batches")
    assert not found(make_subject(make_data(), students=[nn.Flatten()], batch_size=1), "batches")


@pytest.mark.parametrize(("epochs", "mix", "warned"), [(49, PAIRS, True), (50, PAIRS, False), (3, None, False)])
def test_short_runs_of_mixing(epochs: int, mix: Mix | None, warned: bool, make_data: Make, make_subject: Make) -> None:
    findings = found(make_subject(make_data(), Reader(10), mix=mix, epochs=epochs), "length")
    assert [f.level for f in findings] == ["warning"] * warned
    assert all("--method kd" in f.message for f in findings)


def test_time_and_disk_grow_with_the_run(make_data: Make, make_subject: Make) -> None:
    reports = [check(make_subject(make_data(), students=[normalised()], epochs=n)) for n in (100, 10_000)]
    short, long = (report.facts["estimate"] for report in reports)
    assert 20 * short["seconds"] < long["seconds"]
    assert short["bytes"] == long["bytes"] > 0


def test_the_student_is_left_in_its_mode(make_data: Make, make_subject: Make) -> None:
    student = normalised().train()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    check(make_subject(make_data(), students=[student]))
    assert student.training
    assert all((value == before[name]).all() for name, value in student.state_dict().items())


def test_the_student_alone_is_compared_with(tmp_path: Path, make_data: Make, make_subject: Make) -> None:
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "result.json").write_text(json.dumps({"test": {"top1": 0.9, "nll": 1.0}}))
    (finding,) = found(make_subject(make_data(), Reader(10), baseline=tmp_path / "alone"), "baseline")
    assert finding.level == "note"
    assert (
        "right on 100.0% of 50 test images, the student alone (alone) on 90.0%: 10.0 points to learn" in finding.message
    )
    with pytest.raises(StkdError, match="is not a finished run"):
        check(make_subject(make_data(), Reader(10), baseline=tmp_path))
