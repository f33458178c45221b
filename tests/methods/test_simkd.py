"""What is particular to SimKD: the student that comes out of it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import stkd
from stkd import models
from stkd.data import open_data
from stkd.methods import Setup, Tapped, View, parse
from stkd.models.files import ModelInfo, load_model, save_model
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
        models.create("cnn4", num_classes=10, in_channels=1),
        "cnn4",
        module,
        torch.randn(2, 1, 8, 8),
        torch.randn(2, 1, 8, 8),
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
            torch.randn(2, 1, 8, 8),
        )


@pytest.mark.parametrize("name", ["simkd/cnn4", "simkd/cnn4/wide", "simkd//8", "simkd/cnn4/0", "simkd/cnn4/-1"])
def test_name_of_the_student_is_checked(name: str) -> None:
    with pytest.raises(stkd.StkdError, match="write simkd/STUDENT/WIDTH"):
        models.create(name, num_classes=3)


@pytest.mark.parametrize("extra", [0, 3], ids=["same-classes", "more-classes"])
@pytest.mark.parametrize("method", ["simkd", "simkd+kd"])
def test_classifier_is_brought_into_the_order_of_the_data(
    method: str, extra: int, teacher_run: Path, tmp_path: Path
) -> None:
    original, info = load_model(teacher_run)
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0)).tolist()
    module = models.create("cnn4", num_classes=10 + extra, in_channels=1)
    state = original.state_dict()
    for name in ("fc.weight", "fc.bias"):
        other = torch.randn(extra, *state[name].shape[1:])
        state[name] = torch.cat([other, state[name][order]])
    module.load_state_dict(state)
    classes = (*(f"other{i}" for i in range(extra)), *(info.classes[i] for i in order))
    file = tmp_path / "reordered.safetensors"
    save_model(module, file, ModelInfo("cnn4", classes, 1, 8, info.mean, info.std))
    result = stkd.distill(None, "cnn2", "digits", method, teacher_weights=file, out=tmp_path / "run", **SMALL)
    student, _ = load_model(result.out)
    torch.testing.assert_close(student.fc.weight, original.fc.weight, rtol=0, atol=0)
    torch.testing.assert_close(student.fc.bias, original.fc.bias, rtol=0, atol=0)


def test_srrl_does_not_depend_on_the_order_of_the_teachers_classes() -> None:
    teacher = models.create("cnn4", num_classes=5).eval()
    reordered = copy.deepcopy(teacher)
    reordered.fc.weight.data, reordered.fc.bias.data = (p.data.flip(0) for p in (teacher.fc.weight, teacher.fc.bias))
    method = parse("srrl")
    features = Tapped(pooled=(torch.randn(6, 8),)), Tapped(pooled=(torch.randn(6, 16),))
    extras = method.build(Setup(*features, teacher, torch.zeros(6, dtype=torch.int64)))
    batch: Any = None
    values = [
        method.losses(View(batch, torch.zeros(6, 5), torch.zeros(6, 5), *features, extras, model))["srrl"]
        for model in (teacher, reordered)
    ]
    torch.testing.assert_close(values[0], values[1])
