"""Students that learn beside each other: each ends as its single run does, whatever happens to the others."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

import stkd
from stkd.data import open_data
from stkd.data.loader import Batch
from stkd.training.learner import Diverged
from stkd.training.step import Step

SMALL = {"epochs": 3, "train_images": 160, "batch_size": 16, "precision": "32", "accelerator": "cpu", "compile": "none"}
FLAGS = [w for k, v in SMALL.items() for w in (f"--{k.replace('_', '-')}", str(v))]
STUDENTS: dict[str, dict[str, Any]] = {
    "plain": {"student": "cnn2"},
    "seed": {"student": "cnn2", "seed": 3},
    "features": {"student": "cnn4", "method": "fitnet", "lr": 0.02, "ema": 0.9},
    "correlation": {"student": "cnn4", "method": "crd:negatives=16", "optimizer": "adamw", "clip_norm": 1.0},
    "alone": {"student": "cnn2", "method": "ce"},
}


def ends(run: Path) -> dict[str, Any]:
    """Weights and metrics without what a clock says."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timeless = [{k: v for k, v in row.items() if k not in ("seconds", "images_per_s")} for row in rows]
    found = {path.name: path.read_bytes() for path in run.glob("*.safetensors")}
    assert found
    return {**found, "rows": timeless}


def run_all(teacher: Path, out: Path, students: Mapping[str, Any] = STUDENTS, **options: Any) -> dict[str, Any]:
    return stkd.distill_many(str(teacher), students, "digits", "kd", out=out, **{**SMALL, **options})


def test_each_is_its_single_run(teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    """Bit for bit, from the config.yaml of its own directory; and the teacher answers once for all."""
    asked, calls = Step.teach, 0

    def counted(self: Step, batch: Batch) -> torch.Tensor | None:
        nonlocal calls
        calls += 1
        return asked(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Step, "teach", counted)
        results = run_all(teacher_run, tmp_path / "group")
    assert list(results) == list(STUDENTS)
    assert calls == 30
    for name, result in results.items():
        recipe = tmp_path / "group" / name / "config.yaml"
        assert stkd("distill", "--recipe", recipe, "--out", tmp_path / name).code == 0
        assert ends(tmp_path / name) == ends(result.out), name
    assert yaml.safe_load((tmp_path / "group" / "seed" / "config.yaml").read_text())["data_seed"] == 0
    again = run_all(teacher_run, tmp_path / "group")
    assert not any(result.fresh for result in again.values())


def test_random_layers_have_their_own_numbers(teacher_run: Path, tmp_path: Path) -> None:
    def dropout() -> nn.Module:
        torch.manual_seed(5)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))

    students = {"a": {"student": dropout()}, "b": {"student": dropout(), "seed": 1}, "c": {"student": dropout()}}
    group = run_all(teacher_run, tmp_path / "group", students)
    for name, seed in (("a", 0), ("b", 1)):
        options = SMALL | {"method": "kd", "seed": seed, "data_seed": 0, "out": tmp_path / name}
        single = stkd.distill(str(teacher_run), dropout(), "digits", **options)
        assert ends(single.out) == ends(group[name].out)
    assert ends(group["a"].out) == ends(group["c"].out) != ends(group["b"].out)


def kill_thrice(run: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run and end it as a signal would, in the middle of steps."""
    learn = Step.learn
    for steps in (23, 64, 38):
        made = 0

        def killed(self: Step, *args: Any, limit: int = steps) -> None:
            nonlocal made
            made += 1
            if made == limit:
                raise KeyboardInterrupt
            learn(self, *args)

        with monkeypatch.context() as patch:
            patch.setattr(Step, "learn", killed)
            with pytest.raises(KeyboardInterrupt):
                run()


@pytest.mark.parametrize("minutes", [0.0, 1e-9])
def test_killed_and_resumed(minutes: float, teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed at any step of any student, and once between the checkpoints of two students."""
    options = {"checkpoint_minutes": minutes}
    run_all(teacher_run, tmp_path / "whole", **options)
    kill_thrice(lambda: run_all(teacher_run, tmp_path / "parts", **options), monkeypatch)
    run_all(teacher_run, tmp_path / "parts", **options)
    for name in STUDENTS:
        assert ends(tmp_path / "parts" / name) == ends(tmp_path / "whole" / name), name


def test_one_is_ahead(teacher_run: Path, tmp_path: Path) -> None:
    """A student that an earlier session took further waits, and a finished one is left alone."""
    two = {name: STUDENTS[name] for name in ("plain", "features")}
    whole = run_all(teacher_run, tmp_path / "whole", two)
    learn, made = Step.learn, 0

    def killed(self: Step, *args: Any) -> None:
        nonlocal made
        made += 1
        if made == 17:
            raise KeyboardInterrupt
        learn(self, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Step, "learn", killed)
        with pytest.raises(KeyboardInterrupt):
            run_all(teacher_run, tmp_path / "group", {"plain": STUDENTS["plain"]})
    found = run_all(teacher_run, tmp_path / "group", two)
    assert all(ends(found[name].out) == ends(whole[name].out) for name in two)


def test_one_diverges(teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    """The others end as if it had not been there; the command says so and fails."""
    students = {"good": {"student": "cnn2"}, "bad": {"student": "cnn4", "lr": 1e30}, "too": {"student": "cnn4"}}
    file = tmp_path / "students.yaml"
    file.write_text(yaml.safe_dump(students))
    command = ["--data", "digits", "--teacher-weights", teacher_run, *FLAGS, "--method", "kd"]
    answer = stkd("many", file, *command, "--out", tmp_path / "group")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("stkd: error: bad: the ")
    assert "became NaN or infinite" in answer.err
    assert answer.out.count("test accuracy") == 2
    assert not (tmp_path / "group" / "bad" / "result.json").exists()
    single = stkd("distill", *command, "--student", "cnn2", "--out", tmp_path / "single")
    assert single.code == 0
    assert ends(tmp_path / "single") == ends(tmp_path / "group" / "good")
    results = run_all(teacher_run, tmp_path / "group", students)
    assert [type(result) is Diverged for result in results.values()] == [False, True, False]


def test_from_a_cache(teacher_run: Path, tmp_path: Path) -> None:
    cache = stkd.cache_teacher(str(teacher_run), "digits", "kd", out=tmp_path / "cache", dtype="fp32", **SMALL)
    students = {name: STUDENTS[name] for name in ("plain", "seed")}
    live = run_all(teacher_run, tmp_path / "live", students)
    data, options = open_data("digits", train_images=160), {**SMALL, "teacher_cache": cache.out, "train_images": None}
    cached = stkd.distill_many(None, students, data, "kd", out=tmp_path / "cached", **options)
    assert all(ends(live[name].out) == ends(cached[name].out) for name in students)


BAD = {
    "{": "is not valid YAML",
    "[]": "must be lines of 'name: {option: value}'",
    "a: cnn2": "must be lines of 'name: {option: value}'",
    "a: {student: cnn2, epochs: 3}": "epochs is the same for all students; give it beside them, not to a",
    "a: {student: cnn2, studnt: 3}": "unknown option 'studnt'; did you mean student",
    "a/b: {student: cnn2}": "'a/b' cannot be the name of a run directory",
    "a: {lr: 1}": "--student is missing",
    "a: {student: cnn2, lr: fast}": "--lr must be a number, got fast",
    "{a: {student: cnn2, method: kd}, b: {student: cnn2, method: stkd}}": "would see other samples (no mixing, ",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_students(text: str, teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    file = tmp_path / "students.yaml"
    file.write_text(text)
    flags = ["--data", "digits", "--teacher-weights", teacher_run, *FLAGS, "--out", tmp_path / "group"]
    answer = stkd("many", file, *flags)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert BAD[text] in answer.err
    assert not (tmp_path / "group").exists()


def test_bad_flags(teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    file = tmp_path / "students.yaml"
    flags = ["--data", "digits", "--teacher-weights", teacher_run, *FLAGS]
    assert "cannot read students" in stkd("many", file, *flags, "--out", tmp_path / "group").err
    file.write_text("a: {student: cnn2}")
    assert "--out is missing" in stkd("many", file, *flags).err
    assert "in one generation" in stkd("many", file, *flags, "--generations", "2", "--out", tmp_path / "group").err
