"""What is said while a training runs where no terminal shows a progress bar."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import stkd as package

SMALL = {"epochs": 3, "train_images": 160, "batch_size": 16, "precision": "32", "accelerator": "cpu"}
FLAGS = [w for k, v in SMALL.items() for w in (f"--{k.replace('_', '-')}", str(v))]
TIME = r"(under 1 s|\d+ s)"


def test_a_line_an_epoch(tmp_path: Path, stkd: Any) -> None:
    command = ["train", "--data", "digits", "--model", "cnn2", *FLAGS, "--val-fraction", "0.2", "--eval-every", "2"]
    command += ["--preflight", "off"]
    answer = stkd(*command, "--out", tmp_path / "run")
    assert answer.code == 0
    assert answer.err == ""
    scores = r"val \d+\.\d %, test \d+\.\d %"
    for number, (line, evaluated) in enumerate(zip(answer.epochs, (False, True, True), strict=True), 1):
        left = "" if number == 3 else f", {TIME} left"
        shown = rf"loss \d\.\d{{3}}, train \d+\.\d %{', ' + scores if evaluated else ''}; {TIME}{left}"
        assert re.fullmatch(f"stkd: note: run, epoch {number}/3: {shown}\n", line), line
    assert stkd(*command, "--out", tmp_path / "run").epochs == []


def test_python_programs_hear_it_through_logging(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "stkd")
    package.train("cnn2", "digits", out=tmp_path / "run", **SMALL)
    assert sum("epoch " in message for message in caplog.messages) == 3


def test_students_beside_each_other_share_a_line(teacher_run: Path, tmp_path: Path, caplog: Any) -> None:
    caplog.set_level("INFO", "stkd")
    students = {"a": {"student": "cnn2"}, "b": {"student": "cnn4"}}
    package.distill_many(str(teacher_run), students, "digits", out=tmp_path / "group", **SMALL)
    lines = [message for message in caplog.messages if message.startswith("2 students, epoch ")]
    assert len(lines) == 3
    assert all(re.search(r": a loss .*; b loss .*; ", line) for line in lines)
