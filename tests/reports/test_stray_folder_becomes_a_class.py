"""Masks beside the images of a class, and years inside it, silently became classes: cat/masks, church/2021."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

import stkd
from stkd.data import open_data
from stkd.runs.finished_run import open_run

NESTED = ("cat", "cat/masks", "church/2020", "church/2021")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two splits of two classes, with folders inside the classes."""
    monkeypatch.setenv("STKD_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "set"
    for split in ("train", "test"):
        for folder in NESTED:
            (root / split / folder).mkdir(parents=True, exist_ok=True)
            for k in range(2):
                Image.new("RGB", (8, 8), (k, 0, 0)).save(root / split / folder / f"{k}.png")
    return root


def test_folders_inside_a_class_belong_to_it(folders: Path) -> None:
    data = open_data(f"folder:{folders}")

    assert data.classes == ("cat", "church")
    assert data.train.labels.tolist() == [0] * 4 + [1] * 4
    assert data.listing is not None
    assert data.listing.folders["test"] == {"cat": 4, "church": 4}
    assert open_data(f"folder:{folders}", nested=True).classes == NESTED


def test_runs_of_the_first_version_keep_their_classes(tmp_path: Path, folders: Path) -> None:
    options: dict[str, Any] = {"out": tmp_path / "run", "batch_size": 8, "accelerator": "cpu", "precision": "32"}
    options |= {"preflight": "off", "compile": "none"}
    stkd.train("cnn2", f"folder:{folders}", epochs=1, nested=True, **options)
    file = tmp_path / "run" / "config.yaml"
    record = yaml.safe_load(file.read_text())
    new = ("nested", "skip_bad", "crop_pct", "interpolation")
    file.write_text(yaml.safe_dump({name: value for name, value in record.items() if name not in new}))
    (tmp_path / "run" / "manifest.json").unlink()
    assert open_run(tmp_path / "run").data.classes == NESTED
    stkd.train("cnn2", f"folder:{folders}", epochs=2, **options)
    assert open_run(tmp_path / "run").info.classes == NESTED
