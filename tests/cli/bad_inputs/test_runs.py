"""Finished, unfinished, damaged and foreign runs."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch
from PIL import Image


def unfinished_student(place: Any) -> None:
    place.unfinished("student_run")


def damaged_config(place: Any) -> None:
    place.path("student_run/config.yaml").write_text("model: [")


def damaged_checkpoint(place: Any) -> None:
    place.unfinished("teacher_run")
    for name in ("last", "previous"):
        place.cut(f"teacher_run/checkpoints/{name}.pt", f"teacher_run/checkpoints/{name}.pt")


def foreign_checkpoint(place: Any) -> None:
    place.unfinished("teacher_run")
    for file in place.path("teacher_run/checkpoints").iterdir():
        file.unlink()
    torch.save({"epoch": 1}, place.path("teacher_run/checkpoints/last.pt"))


def damaged_student(place: Any) -> None:
    place.cut("student_run/student.safetensors", "student_run/student.safetensors")


RESUME = "train --model cnn4 --precision 32 --accelerator cpu --out {teacher_run}"
ROWS: dict[str, tuple[Any, ...]] = {
    "evaluate-missing": ("evaluate {nowhere}", "nowhere is not a run directory", "stkd train"),
    "evaluate-foreign": ("evaluate {pictures}", "pictures is not a run directory", "config.yaml"),
    "evaluate-unfinished": ("evaluate {student_run}", "is the run finished?", unfinished_student),
    "evaluate-damaged-config": ("evaluate {student_run}", "config.yaml is damaged", damaged_config),
    "evaluate-missing-split": ("evaluate {teacher_run} --split val", "digits has no val split", "--split"),
    "evaluate-other-classes": ("evaluate {student_run} --data folder:{pictures}", "other classes", "--data"),
    "evaluate-damaged-weights": ("evaluate {student_run}", "student.safetensors is damaged", damaged_student),
    "evaluate-alone-that-was-taught": (
        "evaluate {student_run} --alone {student_run}",
        "was taught by a teacher (stkd)",
        "--alone takes the same student trained without one",
    ),
    "predict-damaged-weights": (
        "predict {student_run} {picture.png}",
        "student.safetensors is damaged",
        damaged_student,
    ),
    "predict-missing": ("predict {nowhere} {picture.png}", "nowhere does not exist"),
    "predict-weights-alone": (
        "predict {w.pth} {picture.png}",
        "which model it holds",
        lambda place: place.weights("w.pth"),
    ),
    "resume-with-other-options": (
        f"{RESUME} --epochs 3 --batch-size 9",
        "was started with batch_size=64, now batch_size=9",
        "another --out",
    ),
    "resume-with-fewer-epochs": (
        f"{RESUME} --epochs 2",
        "was started with epochs=3, now epochs=2; a run can be lengthened, not shortened",
        "give --epochs 3 or more, or another --out",
    ),
    "resume-with-damaged-config": ("distill --out {student_run}", "config.yaml is damaged", damaged_config),
    "resume-with-damaged-checkpoint": (f"{RESUME} --epochs 3", "last.pt is damaged", "delete", damaged_checkpoint),
    "resume-with-foreign-checkpoint": (f"{RESUME} --epochs 3", "last.pt", "delete", foreign_checkpoint),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_run(row: tuple[Any, ...], refused: Any) -> None:
    refused(*row)


def test_changed_data_and_teacher_are_named(place: Any, stkd: Any) -> None:
    pictures, run = place.path("pictures"), place.path("run")
    teacher = ["train", "--data", f"folder:{pictures}", "--model", "cnn2", "--epochs", "1"]
    assert stkd(*teacher, "--out", place.path("t")).code == 0
    assert stkd(*teacher, "--seed", 1, "--out", place.path("other")).code == 0
    command = ["distill", "--data", f"folder:{pictures}", "--student", "cnn2", "--epochs", "2"]
    command += ["--teacher-weights", str(place.path("t")), "--out", str(run)]
    assert stkd(*command).code == 0
    (run / "result.json").unlink()

    weights = (place.path("t") / "model.safetensors").read_bytes()
    (place.path("t") / "manifest.json").unlink()
    shutil.copy(place.path("other") / "model.safetensors", place.path("t"))
    answer = stkd(*command)
    assert answer.code == 2
    assert "the teacher changed since" in answer.err

    (place.path("t") / "model.safetensors").write_bytes(weights)
    Image.new("RGB", (8, 8), "red").save(pictures / "cat" / "0.png")
    answer = stkd(*command)
    assert answer.code == 2
    assert "the data changed since" in answer.err
    # besides, that the teacher was trained on other images than those of now
    assert [line.split(":")[1] for line in answer.err.splitlines()] == [" note", " error"]
