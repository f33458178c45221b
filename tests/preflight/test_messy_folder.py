"""`stkd check` on a folder as people have them: everything that is wrong is said at once."""

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
def messy(tmp_path: Path) -> Path:
    """Cats and dogs, and what lies about beside them."""
    rng, root = np.random.default_rng(0), tmp_path / "messy"

    def picture(name: str, low: int) -> None:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(low, low + 120, (6, 6, 3), dtype=np.uint8))
        coarse.resize((90, 70), Image.Resampling.BICUBIC).save(file)

    for i in range(20):
        picture(f"train/cat/{i}.jpg", 0)
        picture(f"train/dog/{i}.png", 120)
    for i in range(4):
        picture(f"train/cat/2021/{i}.jpg", 0)
        picture(f"train/masks/{i}.png", 60)
    picture("train/cover.jpg", 0)
    shutil.copy(root / "train/cat/3.jpg", root / "train/dog/copy.jpg")
    shutil.copy(root / "train/dog/1.png", root / "train/dog/IMG_1")
    (root / "train/empty").mkdir()
    (root / "__MACOSX").mkdir()
    (root / "train/cat/zero.jpg").touch()
    (root / "train/cat/note.txt").write_text("notes")
    (root / "train/dog/broken.png").write_bytes((root / "train/dog/1.png").read_bytes()[:200])
    (root / "train/cat/broken.jpg").write_bytes(b"hello")
    return root


def test_everything_is_said_at_once(messy: Path, stkd: Callable[..., Any]) -> None:
    done = stkd("check", "--data", f"folder:{messy}", "--image-size", 32, "--full", "--json")
    assert done.code == 2
    findings = json.loads(done.out)["findings"]
    said = {(f["check"], f["level"], name) for f in findings for name in f["names"]}
    assert {
        ("files-left", "error", "train/cat/broken.jpg"),
        ("files-left", "error", "train/dog/broken.png"),
        ("files-left", "warning", "train/cat/note.txt"),
        ("files-left", "warning", "train/cat/zero.jpg"),
        ("files-left", "warning", "train/dog/IMG_1"),
        ("files-left", "warning", "train/cover.jpg"),
        ("files-left", "warning", "__MACOSX"),
        ("class-folders", "warning", "masks"),
        ("class-folders", "warning", "train/empty"),
    } <= said
    twice = [name for check, _, name in said if check == "copies" and "copy.jpg" in name]
    assert twice
    assert all("train/cat/3.jpg" in name for name in twice)
    assert not any("2021" in f["message"] for f in findings)  # a folder of the class, not a class


def test_a_training_names_the_broken_files_together(messy: Path, tmp_path: Path, stkd: Callable[..., Any]) -> None:
    done = stkd("train", "--data", f"folder:{messy}", "--model", "cnn2", "--image-size", 32, "--out", tmp_path / "run")
    assert done.code == 2
    assert done.err.startswith("stkd: error: ")
    assert "2 files that cannot be used" in done.err
    assert "--skip-bad true" in done.err
