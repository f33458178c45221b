"""Of 48 files 6 were of a known type, the others were ignored, and a model was trained on 6 images."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from stkd.data import image_tree, open_data
from stkd.data.decode import image_suffixes


def test_every_file_is_an_image_or_listed_by_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STKD_CACHE", str(tmp_path / "cache"))
    without_heif = image_suffixes() - image_tree.HEIC
    monkeypatch.setattr(image_tree, "image_suffixes", lambda: without_heif)
    root = tmp_path / "set"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for k in range(3):
            Image.new("RGB", (8, 8), (k, 0, 0)).save(root / name / f"{k}.png")
    others = {"heic": 18, "cr2": 9, "txt": 4}
    for suffix, count in others.items():
        for k in range(count):
            (root / "cat" / f"{k}.{suffix}").write_bytes(b"content")
    for k in range(5):
        (root / "dog" / f"IMG_{k}").write_bytes(b"content")
        (root / "dog" / f"empty{k}.jpg").write_bytes(b"")
    (root / "dog" / ".hidden.png").write_bytes(b"content")

    data = open_data(f"folder:{root}")

    assert data.test is not None
    assert data.listing is not None
    assert len(data.train) + len(data.test) == 6
    left = {reason: len(names) for reason, names in data.listing.left.items()}
    heic = "HEIC needs `pip install 'stkd[heic]'`"
    assert left == {
        heic: 18,
        "hidden": 1,
        "no ending": 5,
        "not an image type that is read (.cr2)": 9,
        "not an image type that is read (.txt)": 4,
        "zero bytes": 5,
    }
    assert sum(left.values()) + 6 == 48
    assert data.listing.left["zero bytes"] == tuple(f"dog/empty{k}.jpg" for k in range(5))
    assert data.listing.folders == {"train": {"cat": 3, "dog": 3}}
