"""Frameworks save teacher and student in one state dict; which of both was read depended on the order of the names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stkd.models import create


@pytest.mark.parametrize("names", [("module.teacher.", "module.student."), ("teacher.", "architecture.")])
def test_each_is_taken_for_what_it_is(names: tuple[str, str], teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    teacher = load_file(teacher_run / "model.safetensors")
    torch.manual_seed(5)
    student = create("cnn4", num_classes=10, in_channels=1)  # the same network, so that only names tell them apart
    file = tmp_path / "distiller.pth"
    state = {names[1] + name: tensor for name, tensor in student.state_dict().items()}
    torch.save({"epoch": 1, "model": state | {names[0] + name: tensor for name, tensor in teacher.items()}}, file)

    answer = stkd(
        *("distill", "--data", "digits", "--teacher", "cnn4", "--teacher-weights", file, "--student", "cnn4"),
        *("--student-weights", file, "--epochs", 1, "--lr", "1e-9", "--weight-decay", 0, "--precision", "32"),
        *("--accelerator", "cpu", "--train-images", 64, "--out", tmp_path / "run"),
    )
    assert answer.code == 0, answer.err
    assert f"--teacher-weights-key model.{names[1].replace('module.', '')[:-1]}" in answer.err + answer.out
    assert f"--student-weights-key model.{names[0].replace('module.', '')[:-1]}" in answer.err + answer.out
    ended = load_file(tmp_path / "run" / "student.safetensors")
    torch.testing.assert_close(ended["fc.weight"], student.fc.weight, atol=1e-5, rtol=0)
