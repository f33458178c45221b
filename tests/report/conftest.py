"""A small comparison and a small run, with names that would break a page that does not escape them."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stkd.api import run_distill, run_train
from stkd.core.config import DistillConfig, TrainConfig, build
from stkd.runs.environment import environment

EVIL = '<img src=x onerror="alert(1)">&amp;\'</script>'
METHODS = {"alone": "ce", "KD": "kd", f"STKD {EVIL}": "stkd"}
SEEDS = (0, 1)
_COMMON: dict[str, Any] = {"data": "digits", "precision": "32", "accelerator": "cpu", "train_images": 200}


@pytest.fixture(scope="session")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods with two seeds each, one seed failed, as `stkd compare` leaves them; without its page."""
    out = tmp_path_factory.mktemp("comparison")
    run_train(build(TrainConfig, {**_COMMON, "model": "cnn4", "epochs": 4, "out": out / "teacher"}), progress=False)
    cells = []
    for label, spec in METHODS.items():
        runs = []
        for seed in SEEDS:
            chosen = {"method": spec, "seed": seed, "student": "cnn2", "out": out / f"{spec}-{seed}"}
            taught = {} if spec == "ce" else {"teacher_weights": out / "teacher"}
            result = run_distill(build(DistillConfig, {**_COMMON, "epochs": 3, **chosen, **taught}), progress=False)
            kept = {k: result.scores[k] for k in ("test", "images_seen", "teacher_passes", "seconds")}
            runs.append({"seed": seed, "path": f"{spec}-{seed}", "ema": None, **kept})
        cells.append(_cell(label, spec, runs))
    cells[1]["failed"] = [{"seed": 7, "why": f"the loss became NaN {EVIL}"}]
    base = cells[0]["mean"]["top1"]
    for cell in cells[1:]:
        difference = cell["mean"]["top1"] - base
        interval = {"difference": difference, "low": difference - 0.02, "high": difference + 0.02}
        cell["paired"] = {"top1": {**interval, "p": 0.5, "p_corrected": 1.0, "pairs": 2}}
    teacher = json.loads((out / "teacher" / "result.json").read_text())
    sizes = {"parameters": 1702, "macs": 11680}
    record = {
        "schema": 2,
        "protocol": {"options": {"epochs": 3, "batch_size": 64}, "teacher": {"model": "cnn4"}},
        "environment": environment(),
        "baseline": "alone",
        "teachers": {"digits": {"model": "cnn4", "path": "teacher", "test": teacher["test"], **sizes}},
        "students": {"cnn2": {"parameters": 496, "macs": 3000}},
        "best": [{"data": "digits", "student": "cnn2", "method": None}],
        "cells": cells,
    }
    (out / "comparison.json").write_text(json.dumps(record))
    return out


def _cell(label: str, spec: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    scores = {name: [run["test"][name] for run in runs] for name in ("top1", "nll")}
    return {
        "data": "digits",
        "student": "cnn2",
        "method": label,
        "spec": spec,
        "mix": {},
        "runs": runs,
        "failed": [],
        "mean": {name: mean(values) for name, values in scores.items()},
        "std": {name: stdev(values) for name, values in scores.items()},
        "paired": None,
    }


@pytest.fixture(scope="session")
def evil_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distilled student whose classes have names that look like HTML; images of 96 pixels in files."""
    folder = tmp_path_factory.mktemp("evil")
    rng = np.random.default_rng(0)
    for i, name in enumerate(("<b>cat<b>", "<img src=x onerror=alert(1)>", "a&b")):
        (folder / "images" / name).mkdir(parents=True)
        for j in range(10):
            pixels = rng.integers(0, 128, (96, 96, 3), dtype=np.uint8) + np.uint8(60 * i)
            Image.fromarray(pixels).save(folder / "images" / name / f"{j}.png")
    common = {"data": f"folder:{folder / 'images'}", "precision": "32", "accelerator": "cpu", "workers": 0}
    common |= {"image_size": 96, "epochs": 2, "batch_size": 8}
    run_train(build(TrainConfig, {**common, "model": "cnn4", "out": folder / "teacher"}), progress=False)
    own = {"student": "cnn2", "teacher_weights": folder / "teacher", "val_fraction": 0.2, "out": folder / "run"}
    run_distill(build(DistillConfig, {**common, **own}), progress=False)
    return folder / "run"
