from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from stkd import models


class Foreign:
    """An object whose unpickling would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


class Program:
    """An object whose unpickling would run a program."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (f"touch {self.trace}",))


def whole_model(place: Any) -> None:
    torch.save({"net": models.create("cnn4", num_classes=10, in_channels=1)}, place.path("whole.pth"))


def two_models(place: Any) -> None:
    states = (models.create("cnn4", num_classes=10, in_channels=1).state_dict() for _ in range(2))
    torch.save(dict(zip(("first", "second"), states, strict=True)), place.path("two.pth"))


def foreign_pickle(place: Any) -> None:
    place.path("foreign.pkl").write_bytes(pickle.dumps(Foreign(place.path("TRACE"))))


def foreign_pth(place: Any) -> None:
    torch.save({"model": {}, "extra": Program(place.path("TRACE"))}, place.path("foreign.pth"))


def short_pth(place: Any) -> None:
    place.weights("whole.pth")
    place.cut("whole.pth", "short.pth")


def nan_weights(place: Any) -> None:
    state = models.create("cnn4", num_classes=10, in_channels=1).state_dict()
    state["fc.weight"][0, 0] = float("nan")
    save_file(state, place.path("nan.safetensors"))


def other_classes(place: Any) -> None:
    place.text("classes.txt", "\n".join(f"class {i}" for i in range(10)))


TEACHER = "distill --teacher cnn4 --teacher-weights"
ROWS: dict[str, tuple[Any, ...]] = {
    "truncated-safetensors": (
        f"{TEACHER} {{cut.safetensors}}",
        "cut.safetensors is damaged or cut short",
        "again",
        lambda place: place.cut("teacher_run/model.safetensors", "cut.safetensors"),
    ),
    "truncated-pth": (f"{TEACHER} {{short.pth}}", "short.pth is damaged, cut short", "again", short_pth),
    "empty-pth": (
        f"{TEACHER} {{e.pth}}",
        "e.pth is empty",
        "give a .safetensors",
        lambda place: place.text("e.pth", ""),
    ),
    "text": (f"{TEACHER} {{a.pth}}", "a.pth is not a weights file", lambda place: place.text("a.pth")),
    "pickle-of-foreign-objects": (f"{TEACHER} {{foreign.pkl}}", "foreign.pkl", "again", foreign_pickle),
    "pth-of-foreign-objects": (f"{TEACHER} {{foreign.pth}}", "more than tensors", "state_dict()", foreign_pth),
    "whole-model": (f"{TEACHER} {{whole.pth}}", "holds a whole model", "docs/models.md", whole_model),
    "several-models": (f"{TEACHER} {{two.pth}}", "(first, second)", "--teacher-weights-key first", two_models),
    "key-that-is-not-there": (
        f"{TEACHER} {{two.pth}} --teacher-weights-key thrd",
        "unknown key of weights",
        "first, second",
        two_models,
    ),
    "another-model": (
        f"{TEACHER} {{w.pth}}",
        "does not fit",
        "weights of cnn8",
        lambda place: place.weights("w.pth", "cnn8"),
    ),
    "record-of-another-model": (
        "distill --teacher cnn8",
        "weights are of cnn4, not of cnn8",
        "give --teacher cnn4",
    ),
    "other-classes": (
        f"{TEACHER} {{w.pth}}",
        "has 7 classes, the model 10",
        "name its 7 classes with --teacher-classes FILE",
        lambda place: place.weights("w.pth", classes=7),
    ),
    "nan": (f"{TEACHER} {{nan.safetensors}}", "holds NaN", "fc.weight", nan_weights),
    "state-dict-of-numbers": (
        f"{TEACHER} {{w.pth}}",
        "holds no state dict",
        lambda place: place.weights("w.pth", change=lambda state: {"epoch": 3}),
    ),
    "teacher-has-other-classes": (
        "distill --teacher-classes {classes.txt}",
        "teacher does not know 10 of them: '0'",
        "--teacher-classes",
        other_classes,
    ),
    "teacher-of-other-data": ("distill --data folder:{pictures}", "10 classes, the data set 2", "'cat'"),
    "teacher-is-unfinished": (
        "distill",
        "holds no student",
        "is the run finished?",
        lambda place: place.unfinished("teacher_run"),
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_weights(row: tuple[Any, ...], refused: Any) -> None:
    refused(*row)
