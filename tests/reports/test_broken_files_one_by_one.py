"""Broken files ended everything one at a time, in the middle of a training, and deleting one forbade going on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import stkd
from stkd.core.errors import StkdError
from stkd.data import ImageFiles, image_tree, open_data
from stkd.runs.checkpoint import load_checkpoint
from stkd.runs.evaluation import evaluate_run

OPTIONS: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 4,
    "workers": 0,
    "precision": "32",
    "accelerator": "cpu",
    "compile": "none",
    "preflight": "off",
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of eight training and two test images."""
    monkeypatch.setenv("STKD_CACHE", str(tmp_path / "cache"))
    root, rng = tmp_path / "set", np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 2)):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for k in range(count):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(root / split / name / f"{k}.png")
    return root


def spoil(*paths: Path) -> None:
    """Break files; their sizes stay."""
    for path in paths:
        path.write_bytes(b"x" * path.stat().st_size)


def test_all_broken_files_are_said_at_once_and_may_be_left_out(root: Path) -> None:
    broken = ("test/cat/1.png", "train/cat/0.png", "train/cat/7.png", "train/dog/3.png")
    spoil(*(root / name for name in broken))
    with pytest.raises(StkdError, match=r"4 files that cannot be used: .*--skip-bad true") as caught:
        open_data(f"folder:{root}")
    assert "\n" not in str(caught.value)
    assert sum(name in str(caught.value) for name in broken) == 3
    data = open_data(f"folder:{root}", skip_bad=True)
    assert data.listing is not None
    assert data.listing.left == {"broken": broken}
    assert data.listing.folders == {"train": {"cat": 6, "dog": 7}, "test": {"cat": 1, "dog": 2}}
    assert data.test is not None
    assert (len(data.train), len(data.test)) == (13, 3)
    for name in broken:
        (root / name).unlink()
    assert open_data(f"folder:{root}").fingerprint == data.fingerprint


def test_the_same_command_goes_on_without_the_broken_file(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(image_tree, "STORE_LIMIT", 1)
    assert isinstance(open_data(f"folder:{root}").train.images, ImageFiles)
    spoil(root / "train" / "dog" / "3.png", root / "test" / "cat" / "1.png")

    def train(out: str, **options: Any) -> stkd.Result:
        return stkd.train("cnn2", f"folder:{root}", out=tmp_path / out, **OPTIONS, **options)

    with caplog.at_level(logging.WARNING, "stkd"):
        whole = train("whole", skip_bad=True)
    said = [record.getMessage() for record in caplog.records if "broken" in record.getMessage()]
    assert sum("dog/3.png" in line for line in said) == 1
    assert sum("cat/1.png" in line for line in said) == 1
    assert whole.scores["test"]["top1"] in (0, 1 / 3, 2 / 3, 1)  # of the three that are left

    with pytest.raises(StkdError, match=r"dog/3\.png is broken .*--skip-bad true"):
        train("run")
    before = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")
    assert before["epoch"] == 0
    after = train("run", skip_bad=True)
    assert after.weights.read_bytes() == whole.weights.read_bytes()
    assert evaluate_run(tmp_path / "run")["images"] == 3  # the file of options knows it too


def test_broken_test_image_costs_no_training(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_tree, "STORE_LIMIT", 1)
    good = stkd.train("cnn2", f"folder:{root}", out=tmp_path / "good", **OPTIONS)
    spoil(root / "test" / "cat" / "1.png")
    with pytest.raises(StkdError, match=r"cat/1\.png is broken"):
        stkd.train("cnn2", f"folder:{root}", out=tmp_path / "run", **OPTIONS)
    kept = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")
    assert (kept["epoch"], kept["step"]) == (0, 4)
    after = stkd.train("cnn2", f"folder:{root}", out=tmp_path / "run", skip_bad=True, **OPTIONS)
    assert after.weights.read_bytes() == good.weights.read_bytes()
