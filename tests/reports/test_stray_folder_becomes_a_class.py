"""Masks beside the images of a class, and years inside it, silently became classes: cat/masks, church/2021."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from stkd.data import open_data


def test_folders_inside_a_class_belong_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STKD_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "set"
    for split in ("train", "test"):
        for folder in ("cat", "cat/masks", "church/2020", "church/2021"):
            (root / split / folder).mkdir(parents=True, exist_ok=True)
            for k in range(2):
                Image.new("RGB", (8, 8), (k, 0, 0)).save(root / split / folder / f"{k}.png")

    data = open_data(f"folder:{root}")

    assert data.classes == ("cat", "church")
    assert data.train.labels.tolist() == [0] * 4 + [1] * 4
    assert data.listing is not None
    assert data.listing.folders["test"] == {"cat": 4, "church": 4}
    apart = open_data(f"folder:{root}", nested=True)
    assert apart.classes == ("cat", "cat/masks", "church/2020", "church/2021")
