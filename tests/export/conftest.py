"""Runs to export: of digits, and of photos of two classes in 64 pixels."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

import stkd

PLAIN: dict[str, Any] = {"epochs": 1, "precision": "32", "accelerator": "cpu", "preflight": "off"}


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder data set of smooth images in several sizes: classes "kiwi" and "plum"."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("private") / "photos"
    for split, count in (("train", 8), ("test", 6)):
        for name in ("kiwi", "plum"):
            (root / split / name).mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 256, (60 + 20 * k, 130, 3), dtype=np.uint8)
                image = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(4 if name == "kiwi" else 12))
                image.save(root / split / name / f"{k}.png")
    return root


@pytest.fixture(scope="session")
def _train(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Callable[[str], Path]:
    view: dict[str, Any] = {"image_size": 64, "crop_pct": 0.875, "interpolation": "bicubic", "batch_size": 8}
    how: dict[str, tuple[str, str, dict[str, Any]]] = {
        "cnn2": ("cnn2", "digits", {}),
        "resnet8": ("resnet8", "digits", {"train_images": 200}),
        "cnn4": ("cnn4", f"folder:{photos}", view),
        "mobilenetv3": ("timm/mobilenetv3_small_050", f"folder:{photos}", view),
    }

    @cache
    def train(name: str) -> Path:
        model, data, options = how[name]
        return stkd.train(model, data, out=tmp_path_factory.mktemp(name) / "run", **options, **PLAIN).out

    return train


@pytest.fixture
def run_of(_train: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a run by the name of its model: cnn2 and resnet8 on digits, cnn4 and mobilenetv3 on photos."""

    def copied(name: str) -> Path:
        return Path(shutil.copytree(_train(name), tmp_path / f"{name}_run"))

    return copied


@pytest.fixture
def onnx() -> Any:
    """What ONNX files take, or the test is skipped."""
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (stkd[onnx])")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (stkd[onnx])")
    return pytest.importorskip("onnx", reason="onnx is not installed (stkd[onnx])")
