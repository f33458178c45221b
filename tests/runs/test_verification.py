"""`stkd verify`: what is right, damaged, missing, or of an earlier version."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import stkd as package
from stkd.core.errors import StkdError
from stkd.core.records import write_record
from stkd.runs.verification import verify

READ_AGAIN = {
    "checkpoints/best.safetensors",
    "checkpoints/last.pt",
    "checkpoints/previous.pt",
    "config.yaml",
    "env.json",
    "evaluation.json",
    "metrics.jsonl",
    "preflight.json",
    "result.json",
    "student.safetensors",
}


def test_all_of_a_run_that_is_read_again_is_checked(student_run: Path, flipped: Any, stkd: Any) -> None:
    write_record(student_run / "evaluation.json", {"format": 0})
    found = verify(student_run)
    assert {file.relative_to(student_run).as_posix() for file in found} == READ_AGAIN
    assert {*found.values()} == {"right"}
    answer = stkd("verify", student_run)
    assert (answer.code, answer.out) == (0, f"{student_run}: 10 of 10 files are right\n")
    for seed, name in enumerate(sorted(READ_AGAIN)):
        with flipped(student_run / name, seed):
            wrong = {file: what for file, what in verify(student_run).items() if what != "right"}
            assert wrong == {student_run / name: "damaged"}
    with flipped(student_run / "manifest.json", 0):
        assert verify(student_run)[student_run / "manifest.json"] == "damaged"


def test_the_command_names_what_is_wrong(student_run: Path, stkd: Any) -> None:
    (student_run / "env.json").write_text("[1]")
    (student_run / "student.safetensors").unlink()
    answer = stkd("verify", student_run)
    assert answer.code == 1
    assert answer.out.splitlines() == [
        f"damaged    {student_run / 'env.json'}",
        f"missing    {student_run / 'student.safetensors'}",
        f"{student_run}: 7 of 9 files are right, 1 damaged, 1 missing",
    ]


def test_runs_of_an_earlier_version_are_not_called_right(student_run: Path, stkd: Any) -> None:
    for file in student_run.rglob("manifest.json"):
        file.unlink()
    assert {*verify(student_run).values()} == {"unchecked"}
    answer = stkd("verify", student_run)
    assert answer.code == 0
    assert "0 of 9 files are right, 9 without a digest, since an earlier version of stkd wrote them" in answer.out


def test_folders_of_runs_are_looked_through(student_run: Path, teacher_run: Path) -> None:
    assert {*verify(student_run.parent).values()} == {"right"}
    (teacher_run / "metrics.jsonl").write_text("")
    wrong = [file for file, what in verify(student_run.parent).items() if what != "right"]
    assert wrong == [teacher_run / "metrics.jsonl"]


def test_a_cache(teacher_run: Path, tmp_path: Path, stkd: Any, flipped: Any) -> None:
    small = {"epochs": 3, "train_images": 96, "precision": "32", "accelerator": "cpu"}
    cache = package.cache_teacher(str(teacher_run), "digits", out=tmp_path / "cache", **small).out
    shards = [cache / f"epoch-0000{epoch}.npy" for epoch in range(3)]
    assert verify(cache) == dict.fromkeys([*shards, cache / "header.json"], "right")
    with flipped(shards[1], 0):
        assert verify(cache)[shards[1]] == "damaged"
    shards[2].unlink()
    assert verify(cache)[shards[2]] == "missing"
    (cache / "manifest.json").unlink()
    assert verify(cache)[shards[2]] == "missing"
    assert verify(cache)[shards[0]] == "unchecked"
    assert stkd("verify", cache).code == 1


def test_an_export(student_run: Path, stkd: Any, flipped: Any) -> None:
    assert stkd("export", student_run, "--to", "torch-export").code == 0
    file = student_run / "exports" / "student.pt2"
    assert verify(file) == {file: "right"}
    assert verify(student_run)[file] == "right"
    assert verify(student_run)[student_run / "exports" / "torch-export.json"] == "right"
    with flipped(file, 3):
        assert stkd("verify", file).code == 1
        answer = stkd("predict", file, student_run.parent / "x.png")
        assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert stkd("export", student_run, "--to", "torch-export", "--force").code == 0
    assert stkd("verify", student_run).code == 0


def test_other_paths_are_one_line(student_run: Path, pictures: Path, stkd: Any, tmp_path: Path) -> None:
    shutil.copy(student_run / "student.safetensors", tmp_path / "copied.safetensors")
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "config.yaml").write_text("a: 1")
    for path in (pictures, tmp_path / "nowhere", tmp_path / "copied.safetensors", tmp_path / "foreign"):
        answer = stkd("verify", path)
        assert (answer.code, answer.err.count("\n")) == (2, 1)
        assert f"{path} is no run, no cache of a teacher and no export in its run; give one of them" in answer.err
        with pytest.raises(StkdError):
            verify(path)
