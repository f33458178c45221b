"""5,000 images of CIFAR-100: KD and STKD at two lengths, and recent methods on real images and on virtual samples.

    python benchmarks/study_cifar100.py --data cifar100:PATH --photos results/study_photos.json \\
                                        --work runs/study_cifar100 --result results/study_cifar100.json

Cells 3 and 4 of docs/protocol.md. --photos is the result file of cell 2, which says what stkd-strong is. Some
hours on two cores with AVX512-BF16; the same command goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from common import read_result, write_result
from study import Unit, arguments, arm, compared, environment_entry, make, teacher_entry
from study_photos import CANDIDATES

import stkd

STUDENT = "resnet14"
SEEDS = range(3)
EPOCHS = {2340: 30, 4680: 60, 9360: 120}
"""Steps, and passes through the images."""
SGD: dict[str, Any] = {"nesterov": True, "warmup_epochs": 1.0, "drop_last": True, "lr": 0.2}
BF16 = {"precision": "bf16", "teacher_precision": "bf16"}
OPTIONS: dict[str, Any] = {**SGD, **BF16, "train_images": 5000, "batch_size": 64}
TEACHER: dict[str, Any] = {**SGD, "epochs": 50, "batch_size": 128, "eval_every": 10, "precision": "bf16"}
RECENT = ("skd", "rld", "ldrld", "mlkd")
TWO_VIEWS = "mlkd:strong=true"
"""Sees every image twice in a step, so KD of twice the steps is beside it."""


def units_of(data: str, strong: str | None) -> list[Unit]:
    """Students that see the same images in one pass: the recent methods beside KD, or beside STKD on virtual samples.

    Args:
        data: As `--data` takes it.
        strong: The candidate of cell 2 that stkd-strong is; None where it is not chosen yet.
    """

    def unit(name: str, steps: int, seed: int, methods: Iterable[str], **mix: Any) -> Unit:
        students = {method: {"student": STUDENT, "method": method} for method in methods}
        return Unit(f"{steps}-{name}-{seed}", students, data, {**OPTIONS, "epochs": EPOCHS[steps], "seed": seed, **mix})

    units = []
    for seed in SEEDS:
        units.append(unit("real", 2340, seed, ("kd", *RECENT)))
        units.append(unit("virtual", 2340, seed, ("stkd", *RECENT), mix="mixup"))
    for seed in SEEDS:
        units += [unit("real", 9360, seed, ("kd",)), unit("virtual", 9360, seed, ("stkd",))]
    for seed in SEEDS:
        units += [unit("views", 2340, seed, (TWO_VIEWS,)), unit("real", 4680, seed, ("kd",))]
    if strong is not None:
        method, mix = CANDIDATES[strong]
        for steps in (2340, 9360):
            units += [unit("strong", steps, seed, (method,), **mix) for seed in SEEDS]
    return units


def cells(units: Mapping[str, Any]) -> dict[str, Any]:
    """The arms of each length, compared with `kd`."""
    found: dict[str, dict[str, Any]] = {}
    for steps in EPOCHS:
        names = {("real", "kd"): "kd", ("virtual", "stkd"): "stkd"}
        names |= {(rows, name): f"{name}, {rows}" for rows in ("real", "virtual") for name in RECENT}
        names |= {("strong", name): "stkd-strong" for name, _ in CANDIDATES.values()}
        found[f"{steps} steps"] = {
            label: scored
            for (rows, method), label in names.items()
            if (scored := arm(units, [(seed, f"{steps}-{rows}-{seed}", method) for seed in SEEDS]))
        }
    if views := arm(units, [(seed, f"2340-views-{seed}", TWO_VIEWS) for seed in SEEDS]):
        found["4680 steps"]["mlkd, two views in 2340 steps"] = views
    return compared({name: arms for name, arms in found.items() if arms})


def main() -> None:
    """Train the teacher, make all units, and compare them."""
    parser = arguments(__doc__)
    parser.add_argument("--data", required=True, help="cifar100:PATH")
    parser.add_argument("--photos", type=Path, required=True, help="result file of cell 2")
    args = parser.parse_args()
    teacher, strong = args.work / "teacher", read_result(args.photos).get("protocol", {}).get("stkd-strong")
    stkd.train("resnet20", args.data, out=teacher, **TEACHER)
    head = {
        "what": "test accuracy, NLL, ECE and agreement with the teacher after the last epoch, CIFAR-100",
        "command": "python benchmarks/study_cifar100.py --data cifar100:PATH --photos results/study_photos.json"
        " --work runs/study_cifar100 --result results/study_cifar100.json",
        "protocol": {"student": STUDENT, "options": OPTIONS, "teacher": TEACHER, "stkd-strong": strong},
        "environment": environment_entry(),
        "teacher": teacher_entry(teacher, args.data),
    }
    result = make(units_of(args.data, strong), teacher, args, head)
    write_result(args.result, {**result, "cells": cells(result["units"])})


if __name__ == "__main__":
    main()
