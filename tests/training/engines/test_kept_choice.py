"""A choice of engines that is stored with a run, kept when it goes on, and shared by runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import stkd as package
from stkd.teachers import engines as teacher_engines
from stkd.training.choice import SharedChoice
from stkd.training.engines import Known

from .conftest import TINY, Times, chosen, distil, engines_of, needs_openvino, nobody_looks


def test_a_run_goes_on_with_what_it_was_begun_with(
    teacher_run: Path, tmp_path: Path, killed_at: Callable[..., Any], times: Callable[..., None], fast_bf16: None
) -> None:
    options = {"precision": "auto", "compile": "none", "teacher_engine": "torch", "checkpoint_minutes": 1e-9}
    times({"bf16": 20.0, "bf16 by torch": 90.0})
    whole = distil(teacher_run, tmp_path / "whole", **options)
    with killed_at(4):
        distil(teacher_run, tmp_path / "parts", **options)
    times({"bf16": 200.0})
    parts = distil(teacher_run, tmp_path / "parts", **options)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    begun, resumed = engines_of(tmp_path / "parts")
    assert begun["precision"] == resumed["precision"] == "bf16"
    other = distil(teacher_run, tmp_path / "other", **options)
    assert engines_of(tmp_path / "other")[0]["precision"] == "32"
    assert not all(torch.equal(whole[name], other[name]) for name in whole)


@needs_openvino
def test_an_engine_that_is_not_installed_any_more(
    teacher_run: Path, tmp_path: Path, killed_at: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    options = {"checkpoint_minutes": 1e-9, "compile": "none", "teacher_precision": "32"}
    with killed_at(4):
        distil(teacher_run, tmp_path / "run", teacher_engine="openvino", **options)
    assert engines_of(tmp_path / "run")[0]["teachers"] == [{"precision": "32", "engine": "openvino"}]
    monkeypatch.setattr(teacher_engines, "can_run", lambda precision: False)
    with pytest.raises(package.StkdError, match=r"its teacher in float32 by OpenVINO.*--teacher-engine torch, not bit"):
        distil(teacher_run, tmp_path / "run", teacher_engine="openvino", **options)
    distil(teacher_run, tmp_path / "run", teacher_engine="torch", **options)
    assert any("not bit for bit the run that was begun" in line for line in caplog.messages)
    assert engines_of(tmp_path / "run")[-1]["teachers"][0]["engine"] == "torch"
    (change,) = json.loads((tmp_path / "run" / "result.json").read_text())["changes"]
    assert change["engines_changed"]["to"] == "teacher in float32 by torch, student in float32"
    assert "it went on with teacher in float32 by torch" in (tmp_path / "run" / "README.md").read_text()


def test_a_run_of_an_earlier_version_says_what_it_goes_on_with(
    teacher_run: Path, tmp_path: Path, killed_at: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    whole = distil(teacher_run, tmp_path / "whole")
    with killed_at(4):
        distil(teacher_run, tmp_path / "parts", checkpoint_minutes=1e-9)
    environment = json.loads((tmp_path / "parts" / "env.json").read_text())
    del environment["engines"]
    (tmp_path / "parts" / "manifest.json").unlink()
    (tmp_path / "parts" / "env.json").write_text(json.dumps(environment))
    parts = distil(teacher_run, tmp_path / "parts", checkpoint_minutes=1e-9)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert any("did not record what ran it: it goes on in float32 by torch" in line for line in caplog.messages)


def test_runs_of_a_study_share_one_choice(tmp_path: Path, fast_bf16: None) -> None:
    shared = SharedChoice(tmp_path / "engines.json")
    options = {"compile": "none", "teacher_engine": "torch"}
    known = Known(shared=shared, random_weights=True)
    # without a teacher the choice is made for the students alone
    first = chosen(tmp_path, Times({"bf16": 0.1}), known, method="ce", **options)
    assert (first.precision, first.teachers) == ("bf16", ())
    times = Times({"bf16": 9.0, "bf16 by torch": 0.1})
    second = chosen(tmp_path, times, known, **options)
    assert str(second) == "teacher in bf16 by torch, student in bf16"
    assert "bf16" not in times.asked
    assert chosen(tmp_path, nobody_looks, known, **options).same_engines(second)


def test_a_study_that_looks_at_features_has_torch_run_every_teacher(tmp_path: Path) -> None:
    shared = SharedChoice(tmp_path / "engines.json", features=True)
    times = Times()
    choice = chosen(tmp_path, times, Known(shared=shared), precision="32", compile="all")
    assert str(choice) == "teacher in float32 by torch, student in float32"
    assert times.asked == []


def test_a_damaged_choice_of_a_study(tmp_path: Path) -> None:
    (tmp_path / "engines.json").write_text("{")
    with pytest.raises(package.StkdError, match=r"engines\.json is damaged; delete it"):
        chosen(tmp_path, nobody_looks, Known(shared=SharedChoice(tmp_path / "engines.json")), epochs=1)


def test_runs_beside_each_other_must_have_begun_alike(
    teacher_run: Path, tmp_path: Path, killed_at: Callable[..., Any], fast_bf16: None, times: Callable[..., None]
) -> None:
    options = {**TINY, "precision": "auto", "compile": "none", "checkpoint_minutes": 1e-9, "data_seed": 0}
    options["teacher_engine"] = "torch"
    for name, seconds in (("a", 20.0), ("b", 200.0)):
        times({"bf16": seconds})
        with killed_at(4):
            package.distill(str(teacher_run), "cnn2", "digits", out=tmp_path / name, **options)
    students = {name: {"student": "cnn2"} for name in "ab"}
    with pytest.raises(package.StkdError, match=r"a was begun with .* in bf16, b with .*run them apart"):
        package.distill_many(str(teacher_run), students, "digits", out=tmp_path, **options)  # type: ignore[arg-type]


def test_a_cache_is_completed_by_what_began_it(
    teacher_run: Path, tmp_path: Path, fast_bf16: None, times: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_engines, "_AGREEMENT", 0.0)
    options = {**TINY, "precision": "auto", "compile": "none", "teacher_engine": "torch"}
    times({"bf16 by torch": 20.0})
    made = package.cache_teacher(str(teacher_run), "digits", out=tmp_path / "cache", **options)
    assert made.header.precision == "bf16"
    times({"bf16 by torch": 200.0})
    longer = package.cache_teacher(str(teacher_run), "digits", out=tmp_path / "cache", **{**options, "epochs": 3})
    assert (longer.header.precision, longer.written) == ("bf16", 1)
    again = {**options, "teacher_precision": "32"}
    with pytest.raises(package.StkdError, match="was made with the teacher's precision bf16, here it is 32"):
        package.cache_teacher(str(teacher_run), "digits", out=tmp_path / "cache", **again)
