"""A class file that an editor on Windows wrote was refused: its first class was "\\ufeff0", which no data set has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stkd.teachers.classes import read_classes

NAMES = tuple(map(str, range(10)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_class_names_are_read(encoding: str, end: str, tmp_path: Path) -> None:
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    (tmp_path / "classes.txt").write_bytes((mark + end.join(("Käfer", *NAMES))).encode(encoding))
    assert read_classes(tmp_path / "classes.txt") == ("Käfer", *NAMES)


def test_distillation_by_such_a_file(teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    (tmp_path / "classes.txt").write_text("\r\n".join(NAMES), encoding="utf-8-sig")
    answer = stkd(
        *(
            "distill",
            "--data",
            "digits",
            "--teacher-weights",
            teacher_run,
            "--teacher-classes",
            tmp_path / "classes.txt",
        ),
        *("--student", "cnn2", "--epochs", 1, "--train-images", 64, "--accelerator", "cpu", "--out", tmp_path / "run"),
    )
    assert answer.code == 0, answer.err
