"""Copies of training images in the test split (RIAWELC#2): counted, named, and above 1 % refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twenty pictures of two classes for training, and ten others of each class for testing."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("test", 10)):
        for name, low in (("cat", 0), ("dog", 120)):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                coarse = Image.fromarray(rng.integers(low, low + 130, (5, 5, 3), dtype=np.uint8))
                coarse.resize((40, 40), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return tmp_path / "photos"


TRAIN = ("--model", "cnn2", "--epochs", 1, "--image-size", 32, "--precision", "32", "--accelerator", "cpu")


def test_a_test_split_of_copies_is_refused(photos: Path, tmp_path: Path, stkd: Callable[..., Any]) -> None:
    shutil.rmtree(photos / "test")
    shutil.copytree(photos / "train", photos / "test")
    done = stkd("train", "--data", f"folder:{photos}", "--out", tmp_path / "run", *TRAIN)
    assert done.code == 2
    assert "20 of 20 test images are copies of training images" in done.err
    record = json.loads((tmp_path / "run" / "preflight.json").read_text())
    (finding,) = [f for f in record["findings"] if f["level"] == "error"]
    assert len(finding["names"]) == 20
    assert "train/cat/0.png = test/cat/0.png" in finding["names"]


def test_other_images_are_not(photos: Path, tmp_path: Path, stkd: Callable[..., Any]) -> None:
    done = stkd("train", "--data", f"folder:{photos}", "--out", tmp_path / "run", *TRAIN)
    assert done.code == 0
    assert "copies" not in done.err
