from __future__ import annotations

from typing import Any

import pytest

ROWS: dict[str, tuple[Any, ...]] = {
    "command": ("distil --data digits", "unknown command 'distil'", "distill"),
    "option": ("train --epohcs 3", "unknown option 'epohcs'", "epochs"),
    "method": ("distill --method stdk", "unknown method 'stdk'", "stkd"),
    "method-option": ("distill --method kd:temprature=2", "option of method kd", "temprature", "temperature"),
    "command-of-4000-letters": ("n" * 4000, "unknown command 'nnn", " ... ", "cache"),
    "run-of-4000-letters": ("evaluate " + "n" * 4000, "File name too long", " ... "),
    "model": ("train --model resnet21", "unknown model 'resnet21'", "resnet20"),
    "model-of-timm-without-prefix": ("train --model resnet18", "unknown model 'resnet18'", "timm/resnet18"),
    "timm-model": ("train --model timm/resnet81", "unknown timm model 'resnet81'", "resnet18"),
    "torchvision-model": ("train --model torchvision/resnet81", "unknown torchvision model", "resnet18"),
    "model-source": ("train --model tim/resnet18", "unknown model source 'tim'", "timm"),
    "student": ("distill --student cnx2", "unknown model 'cnx2'", "cnn2"),
    "teacher": (
        "distill --teacher cnx4 --teacher-weights {w.pth}",
        "unknown model 'cnx4'",
        lambda place: place.weights("w.pth"),
    ),
    "data": ("train --data digit", "unknown data set 'digit'", "digits"),
    "recipe": ("train --recipe crdd", "unknown recipe 'crdd'", "crd"),
    "split": ("evaluate {student_run} --split tset", "unknown split 'tset'", "test"),
    "schedule": ("train --schedule cosinus", "--schedule must be one of", "'cosine'", "cosinus"),
    "optimizer": ("train --optimizer adam", "--optimizer must be one of", "'adamw'"),
    "mix": ("train --mix mixip", "--mix must be one of", "'mixup'"),
    "list": ("list modles --json", "modles", "models"),
    "strategy": ("train --strategy telepathy", "unknown strategy 'telepathy'"),
    "accelerator": ("train --accelerator abacus", "cannot use accelerator=abacus"),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_unknown(row: tuple[Any, ...], refused: Any) -> None:
    refused(*row)
