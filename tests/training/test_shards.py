"""Runs on shards and tables, killed and gone on with: they end as a run on the same images in folders does."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import stkd as package
from stkd.data import image_tree

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 8,
    "image_size": 72,
    "precision": "32",
    "accelerator": "cpu",
    "compile": "none",
    "workers": 1,
    "checkpoint_minutes": 1e-9,
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes, split into train and test."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 12, "test": 4}.items():
        for label, name in enumerate(("cat", "dog")):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for k in range(count):
                pixels = rng.integers(0, 128, (90, 100, 3), dtype=np.uint8) + np.uint8(100 * label)
                Image.fromarray(pixels).save(tmp_path / "photos" / split / name / f"{k:02d}.jpg")
    return tmp_path / "photos"


def write_tars(photos: Path, root: Path) -> str:
    root.mkdir()
    for split in ("train", "test"):
        with tarfile.open(root / f"{split}-0000.tar", "w") as tar:
            for file in sorted((photos / split).rglob("*.jpg")):
                for suffix, content in {"jpg": file.read_bytes(), "cls": file.parent.name.encode()}.items():
                    member = tarfile.TarInfo(f"{file.parent.name}-{file.stem}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    return f"webdataset:{root}"


def write_parquet(photos: Path, root: Path) -> str:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (stkd[parquet])")
    import pyarrow.parquet as pq

    root.mkdir()
    for split in ("train", "test"):
        files = sorted((photos / split).rglob("*.jpg"))
        features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
        table = pa.table(
            {
                "image": [{"bytes": file.read_bytes(), "path": file.name} for file in files],
                "label": [["cat", "dog"].index(file.parent.name) for file in files],
            }
        ).replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}}).encode()})
        pq.write_table(table, root / f"{split}-00000-of-00001.parquet")
    return f"parquet:{root}"


def write_table(photos: Path, root: Path) -> str:
    root.mkdir()
    files = sorted(photos.rglob("*.jpg"))
    rows = [f"{file},{file.parent.name},{file.parent.parent.name}" for file in files]
    (root / "images.csv").write_text("\n".join(["path,label,split", *rows]) + "\n", encoding="utf-8")
    return f"csv:{root / 'images.csv'}"


@pytest.mark.parametrize("write", [write_tars, write_parquet, write_table])
@pytest.mark.parametrize("kept", [True, False], ids=["kept", "on-disk"])
def test_killed_and_gone_on_with(
    write: Any, kept: bool, photos: Path, tmp_path: Path, killed_at: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not kept:
        monkeypatch.setattr(image_tree, "STORE_LIMIT", 0)

    def run(data: str, out: str) -> bytes:
        package.train("cnn2", data, method="mixup", out=tmp_path / out, **SMALL)
        (weights,) = (tmp_path / out).glob("*.safetensors")
        return weights.read_bytes()

    spec = write(photos, tmp_path / "shards")
    for step in (2, 2):
        with killed_at(step):
            run(spec, "parts")
    assert run(spec, "parts") == run(spec, "whole")

    def weights(out: str) -> Any:
        return package.load(tmp_path / out)[0].state_dict()

    run(f"folder:{photos}", "folder")
    for own, other in zip(weights("whole").values(), weights("folder").values(), strict=True):
        assert bool((own == other).all())
