"""What is particular to SimKD: the student that comes out of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import stkd
from stkd import models
from stkd.data import open_data
from stkd.methods import parse
from stkd.models.files import ModelInfo, load_model
from stkd.teachers import LiveTeacher
from stkd.training.features import attach

SMALL: dict[str, Any] = {"epochs": 1, "train_images": 64, "precision": "32", "accelerator": "cpu"}


def test_student_carries_the_teachers_classifier_and_opens_by_name(teacher_run: Path, tmp_path: Path) -> None:
    result = stkd.distill(str(teacher_run), "cnn2", "digits", "simkd", out=tmp_path / "run", **SMALL)
    teacher, _ = load_model(teacher_run)
    student, info = load_model(result.out)
    assert info.model == "simkd/cnn2/16"
    torch.testing.assert_close(student.fc.weight, teacher.fc.weight, rtol=0, atol=0)
    assert all(name.startswith(("backbone.", "projector.", "fc.")) for name in student.state_dict())
    assert not any(name.startswith("backbone.fc") for name in student.state_dict())
    assert stkd.evaluate(student, open_data("digits"))["top1"] == result.scores["test"]["top1"]


@pytest.mark.parametrize(("teacher", "maps"), [("resnet8", True), ("wrn_16_1", False)])
def test_maps_are_compared_where_the_teacher_averages_them(teacher: str, maps: bool) -> None:
    data = open_data("digits")
    method = parse("simkd")
    module = models.create(teacher, num_classes=10, in_channels=1)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if name.endswith("bias"):
                p.add_(0.3)  # as in a trained network, where batch norm shifts what the activation cuts
    student, name = method.adapt(
        models.create("cnn4", num_classes=10, in_channels=1), "cnn4", module, torch.randn(2, 1, 8, 8)
    )
    assert name == "simkd/cnn4/64"
    live = LiveTeacher(module, ModelInfo(teacher, data.classes, 1, 8, data.mean, data.std), data)
    _, place = attach(method, student, live, data, torch.from_numpy(data.train.labels))
    assert place is not None
    assert place.maps is maps


def test_teacher_of_other_classes_is_refused() -> None:
    with pytest.raises(stkd.StkdError, match="which has 7 classes and not 10"):
        parse("simkd").adapt(
            models.create("cnn4", num_classes=10, in_channels=1),
            "cnn4",
            models.create("cnn8", num_classes=7, in_channels=1),
            torch.randn(2, 1, 8, 8),
        )


@pytest.mark.parametrize("name", ["simkd/cnn4", "simkd/cnn4/wide", "simkd//8"])
def test_name_of_the_student_is_checked(name: str) -> None:
    with pytest.raises(stkd.StkdError, match="write simkd/STUDENT/WIDTH"):
        models.create(name, num_classes=3)
