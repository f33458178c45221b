"""The commands whose processes are ended, small enough for a second or two each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from faults_kill import Kills, Scenario
from PIL import Image

__all__ = ["scenarios"]

SMALL = ["--train-images", "64", "--batch-size", "32", "--epochs", "2", "--precision", "32", "--accelerator", "cpu"]
SMALL += ["--compile", "none", "--preflight", "off"]


def scenarios(kills: Kills, work: Path) -> dict[str, Scenario]:
    """Commands by name; what all of them learn from is made here.

    Args:
        kills: Where they run; each writes to `kills.now`.
        work: A folder for what they read.
    """
    now = kills.now
    digits = ["--data", "digits", *SMALL]
    teacher = work / "teacher"
    if (end := kills.run(["train", "--model", "cnn4", *digits, "--out", teacher])).code != 0:
        raise SystemExit(f"no teacher: {end.said}")
    taught = ["--teacher-weights", teacher, "--teacher-engine", "torch", *digits]
    train = ["train", "--model", "cnn2", *digits, "--out", now / "run"]
    distill = ["distill", "--student", "cnn2", *taught, "--val-fraction", "0.2", "--out", now / "run"]
    cache = ["cache", *taught, "--out", now / "cache"]
    onnx, openvino = (["export", now / "run", "--to", to] for to in ("onnx", "openvino"))
    return {
        "train": Scenario(train, 80),
        "train, for longer": Scenario([*train, "--epochs", "3"], 40, [train]),
        "train on image files": Scenario(
            ["train", "--model", "cnn2", "--data", f"folder:{_photos(work)}", *SMALL, "--out", now / "run"], 40
        ),
        "distill": Scenario(distill, 80),
        "many": Scenario(["many", _students(work), *taught, "--out", now / "group"], 60),
        "cache": Scenario(cache, 60),
        "cache, for longer": Scenario([*cache, "--epochs", "3"], 20, [cache]),
        "compare": Scenario(["compare", _recipe(work), "--jobs", "1", "--out", now / "study"], 40),
        "tune": Scenario(
            ["tune", "--student", "cnn2", *taught, "--search", "alpha", "--trials", "2", "--out", now / "study"], 60
        ),
        "evaluate": Scenario(["evaluate", now / "run"], 30, [distill]),
        "report": Scenario(["report", now / "run"], 30, [distill]),
        "export": Scenario(onnx, 20, [distill]),
        "export, again": Scenario([*openvino, "--force"], 20, [distill, openvino]),
    }


def _students(work: Path) -> Path:
    file = work / "students.yaml"
    file.write_text(yaml.safe_dump({"a": {"student": "cnn2"}, "b": {"student": "cnn2", "seed": 1}}))
    return file


def _recipe(work: Path) -> Path:
    file = work / "recipe.yaml"
    options = {"epochs": 2, "train_images": 64, "batch_size": 32, "precision": "32", "accelerator": "cpu"}
    options |= {"compile": "none", "preflight": "off"}
    recipe = {
        "data": "digits",
        "options": {**options, "teacher_engine": "torch"},
        "teacher": {**options, "model": "cnn4", "epochs": 1},
        "students": ["cnn2"],
        "seeds": 1,
        "baseline": "kd",
        "methods": ["kd", "stkd"],
    }
    file.write_text(yaml.safe_dump(recipe))
    return file


def _photos(work: Path) -> Path:
    rng, folder = np.random.default_rng(0), work / "photos"
    for c in ("a", "b"):
        (folder / c).mkdir(parents=True)
        for i in range(48):
            Image.fromarray(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)).save(folder / c / f"{i}.png")
    return folder
