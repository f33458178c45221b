"""Prediction sees a file as evaluation does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import stkd
from stkd.data import open_data
from stkd.data.loader import eval_batches
from stkd.models.files import read_info
from stkd.runs.finished_run import open_run
from stkd.runs.prediction import predict_images

VIEW = {"image_size": 16, "crop_pct": 0.8, "interpolation": "bicubic"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng, root = np.random.default_rng(0), tmp_path / "set"
    for split, count in (("train", 8), ("test", 3)):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{k}.png")
    return root


def test_the_view_of_the_data_is_that_of_the_model(root: Path, tmp_path: Path) -> None:
    options = {"epochs": 1, "batch_size": 8, "precision": "32", "accelerator": "cpu", "preflight": "off"}
    run = stkd.train("cnn2", f"folder:{root}", out=tmp_path / "run", **options, **VIEW)
    info = read_info(run.weights)
    assert info is not None
    assert (info.crop_pct, info.interpolation) == (0.8, "bicubic")
    opened = open_run(tmp_path / "run")
    data, test = opened.data, opened.data.test
    assert test is not None
    assert test.files is not None
    assert (data.crop_pct, data.interpolation) == (0.8, "bicubic")
    images, _ = next(eval_batches(test, data, batch_size=6, device=torch.device("cpu")))
    with torch.no_grad():
        expected = opened.model(images).softmax(1).amax(1)
    rows = predict_images(tmp_path / "run", [root / name for name in test.files.names], top=1)
    found = torch.tensor([row["model"][0]["probability"] for row in rows])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_another_view_is_another_data_set(root: Path) -> None:
    views = [{}, {"crop_pct": 0.8}, {"interpolation": "bicubic"}, VIEW, {"crop_pct": 1.0, "interpolation": "bilinear"}]
    prints = [open_data(f"folder:{root}", **{"image_size": 16, **view}).fingerprint for view in views]
    assert len(set(prints)) == 4
    assert prints[0] == prints[4]
