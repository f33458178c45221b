"""What a teacher sees and knows is said beside what its student does, where it differs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stkd import models
from stkd.data import DataSet, Split
from stkd.models.files import ModelInfo
from stkd.teachers import LiveTeacher
from stkd.teachers.views import difference

DATA = DataSet(
    *("test", ("cat", "dog"), 3, 32, (0.5, 0.4, 0.3), (0.25,) * 3, "none"),
    *(Split(np.zeros((2, 3, 32, 32), np.uint8), np.arange(2)), None, None, "x"),
)
SAME: dict[str, Any] = {"classes": DATA.classes, "size": 32, "mean": DATA.mean, "std": DATA.std}
STUDENT = "the student 32 x 32 colour pixels (bilinear), mean 0.5 0.4 0.3, std 0.25"


@pytest.mark.parametrize(
    ("own", "line"),
    [
        ({}, None),
        (
            {"size": 64, "interpolation": "bicubic"},
            f"sees 64 x 64 colour pixels (the student's resized, bicubic), mean 0.5 0.4 0.3, std 0.25, {STUDENT}",
        ),
        ({"mean": (0.5,) * 3}, f"sees 32 x 32 colour pixels, mean 0.5, std 0.25, {STUDENT}"),
        ({"classes": ("dog", "cat")}, "has 2 classes, the data's 2 by name"),
        (
            {"size": 8, "classes": ("dog", "cat", "emu")},
            f"sees 8 x 8 colour pixels (the student's resized, bilinear), mean 0.5 0.4 0.3, std 0.25, {STUDENT}; "
            "it has 3 classes, the data's 2 by name",
        ),
    ],
)
def test_what_differs(own: dict[str, Any], line: str | None) -> None:
    info = ModelInfo(model="cnn2", channels=3, **{**SAME, **own})
    teacher = LiveTeacher(models.create("cnn2", num_classes=len(info.classes)), info, DATA)
    assert difference(teacher, DATA) == (line and f"the teacher cnn2 {line}")
