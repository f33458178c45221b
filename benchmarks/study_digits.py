"""The map of where virtual samples pay: KD and STKD on digits, over the length of training.

    python benchmarks/study_digits.py --work runs/study_digits --result results/study_digits.json

Cell 1 of docs/protocol.md: 100 units of three students, about two hours on two cores. The same command goes on where
it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from common import write_result
from study import Unit, arguments, arm, compared, environment_entry, make, teacher_entry

import stkd

STUDENTS = ("cnn4", "cnn8", "cnn16")
ARMS = ("kd", "stkd")
IMAGES = (150, 600)
EPOCHS = (30, 90, 300, 900, 2700)
SEEDS = range(5)
# those of the demo, which were chosen on held-out training digits
OPTIONS: dict[str, Any] = {"precision": "32", "warmup_epochs": 1.0, "drop_last": True}
TEACHER: dict[str, Any] = {"model": "cnn32", "epochs": 30, "eval_every": 30, "preflight": "off"}


def unit_of(images: int, epochs: int, method: str, seed: int) -> Unit:
    """Three students of one pass."""
    return Unit(
        f"{images}-{epochs}-{method}-{seed}",
        {name: {"student": name} for name in STUDENTS},
        "digits",
        {**OPTIONS, "method": method, "train_images": images, "epochs": epochs, "seed": seed},
    )


def cells(units: Mapping[str, Any]) -> dict[str, Any]:
    """Both arms of each cell, compared with `kd`."""
    found = {
        f"{images} images, {student}, {epochs} epochs": {
            name: scored
            for name in ARMS
            if (scored := arm(units, [(seed, f"{images}-{epochs}-{name}-{seed}", student) for seed in SEEDS]))
        }
        for images, student, epochs in product(IMAGES, STUDENTS, EPOCHS)
    }
    return compared({name: arms for name, arms in found.items() if arms})


def main() -> None:
    """Train the teacher, make all units, and compare them."""
    args = arguments(__doc__).parse_args()
    teacher = args.work / "teacher"
    stkd.train(
        TEACHER["model"], "digits", out=teacher, **{**OPTIONS, **{k: TEACHER[k] for k in TEACHER if k != "model"}}
    )
    units = [unit_of(images, epochs, name, seed) for epochs, images, seed, name in product(EPOCHS, IMAGES, SEEDS, ARMS)]
    head = {
        "what": "test accuracy, NLL, ECE and agreement with the teacher after the last epoch, digits (500 test images)",
        "command": "python benchmarks/study_digits.py --work runs/study_digits --result results/study_digits.json",
        "protocol": {"options": OPTIONS, "teacher": TEACHER, "steps": {n: n // 64 for n in IMAGES}},
        "environment": environment_entry(),
        "teacher": teacher_entry(teacher, "digits"),
    }
    result = make(units, teacher, args, head)
    write_result(args.result, {**result, "cells": cells(result["units"])})


if __name__ == "__main__":
    main()
