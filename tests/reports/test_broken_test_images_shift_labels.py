"""Broken test images that were passed over gave every later image the label of another one."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stkd import models
from stkd.data import ImageFiles, image_tree, open_data
from stkd.evaluation import evaluate

BROKEN = ("cat/0.png", "dog/3.png")


def of_folder(root: Path) -> dict[str, Any]:
    """The whole evaluation of a student and its teacher on a set that stays on disk, but for times."""
    data = open_data(f"folder:{root}", skip_bad=True, image_size=16)
    assert data.test is not None
    assert isinstance(data.test.images, ImageFiles)
    networks = []
    for seed in range(3):
        torch.manual_seed(seed)
        networks.append(models.create("cnn2", num_classes=3).eval())
    measured = evaluate(networks[0], data, teacher=networks[1], alone=networks[2], corrupted=True)
    plain: dict[str, Any] = without_times(measured)
    return plain


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        timed = ("latency", "throughput")
        return {name: without_times(part) for name, part in value.items() if not name.startswith(timed)}
    return value


def test_an_evaluation_is_that_of_the_set_without_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(image_tree, "STORE_LIMIT", 1)
    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 5), ("test", 6)):
        for name in ("cat", "dog", "fox"):
            folder = tmp_path / "good" / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{k}.png")
    shutil.copytree(tmp_path / "good", tmp_path / "bad")
    for split in ("val", "test"):
        for name in BROKEN:
            (tmp_path / "good" / split / name).unlink()
            (tmp_path / "bad" / split / name).write_bytes(b"x")
    good, bad = (of_folder(tmp_path / name) for name in ("good", "bad"))
    assert good["images"] == 16
    assert good["class_images"] == [5, 5, 6]
    assert good["examples"]["disagreements"]
    assert bad == good
