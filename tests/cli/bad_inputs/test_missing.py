from __future__ import annotations

from typing import Any

import pytest

ROWS: dict[str, tuple[Any, ...]] = {
    "data": ("train without --data", "--data is missing", "KIND[:PATH]"),
    "model": ("train without --model", "--model is missing"),
    "out": ("train without --out", "--out is missing"),
    "student": ("distill without --student", "--student is missing"),
    "value": ("evaluate {student_run} --split", "expected", "split"),
    "images": ("predict {student_run}", "missing: images"),
    "extra-word": ("train cnn4", "unexpected 'cnn4'"),
    "teacher-weights": (
        "distill without --teacher-weights --teacher cnn4",
        "teacher needs weights",
        "--teacher-weights",
    ),
    "teacher": ("train --method kd", "'kd' needs a teacher", "stkd distill"),
    "teacher-name": (
        "distill --teacher-weights {w.pth}",
        "--teacher is missing",
        lambda place: place.weights("w.pth"),
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_missing(row: tuple[Any, ...], refused: Any) -> None:
    refused(*row)
