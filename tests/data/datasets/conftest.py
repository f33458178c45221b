"""Folders with an image colour for each class; the same pictures as a folder, as tar shards and as Parquet files."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from stkd.data import DataSet

SaveImage = Callable[..., Path]
WriteTar = Callable[..., Path]


COLOURS = {"cat": (200, 40, 40), "dog": (40, 200, 40), "eel": (40, 40, 200)}


def fill(
    root: Path,
    save_image: SaveImage,
    per_class: int = 3,
    classes: tuple[str, ...] = ("cat", "dog", "eel"),
    **options: Any,
) -> Path:
    """A folder for each class with images of the class's colour."""
    for name in classes:
        for k in range(per_class):
            save_image(root / name / f"{k}.png", colour=COLOURS.get(name), **options)
    return root


@pytest.fixture
def pictures(tmp_path: Path, save_image: SaveImage) -> Path:
    """A folder for each split and class: 5 and 3 images of 16 x 16 pixels of each of two classes."""
    for split, count in {"train": 5, "test": 3}.items():
        for name in ("cat", "dog"):
            for k in range(count):
                save_image(tmp_path / "pictures" / split / name / f"{k}.png", (16, 16))
    return tmp_path / "pictures"


@pytest.fixture
def write_tar() -> WriteTar:
    """Write a tar file of members, each a name and its content, or a `TarInfo` that has none."""

    def write(path: Path, members: Sequence[tuple[str, bytes] | tarfile.TarInfo]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(path, "w") as tar:
            for member in members:
                if isinstance(member, tarfile.TarInfo):
                    tar.addfile(member)
                else:
                    header = tarfile.TarInfo(member[0])
                    header.size = len(member[1])
                    tar.addfile(header, io.BytesIO(member[1]))
        return path

    return write


@pytest.fixture
def as_tars(pictures: Path, write_tar: WriteTar, tmp_path: Path) -> Callable[..., Path]:
    """Write the pictures as tar shards, a few samples in each, in the order in which the folder lists them."""

    def write(
        labels: Mapping[str, str] | None = None, root: Path = tmp_path / "tars", pattern: str = "{}-{:03d}.tar"
    ) -> Path:
        for split in ("train", "test"):
            files = sorted((pictures / split).rglob("*.png"))
            for start in range(0, len(files), 4):
                members = []
                for file in files[start : start + 4]:
                    key = f"{file.parent.name}-{file.stem}"
                    label = file.parent.name if labels is None else labels[file.parent.name]
                    members += [(f"{key}.png", file.read_bytes()), (f"{key}.cls", label.encode())]
                write_tar(root / pattern.format(split, start // 4), members)
        return root

    return write


@pytest.fixture
def as_parquet(pictures: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write the pictures as Parquet files, in the order in which the folder lists them."""
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (stkd[parquet])")
    import pyarrow.parquet as pq

    def write(
        label: Callable[[str], Any] = ["cat", "dog"].index,
        *,
        names: Sequence[str] | None = ("cat", "dog"),
        struct: bool = True,
        columns: tuple[str, str] = ("image", "label"),
        root: Path = tmp_path / "parquet",
    ) -> Path:
        root.mkdir(parents=True, exist_ok=True)
        for split in ("train", "test"):
            files = sorted((pictures / split).rglob("*.png"))
            for part, own in enumerate((files[:4], files[4:])):
                contents: list[Any] = [file.read_bytes() for file in own]
                if struct:
                    contents = [{"bytes": c, "path": f.name} for c, f in zip(contents, own, strict=True)]
                table = pa.table({columns[0]: contents, columns[1]: [label(f.parent.name) for f in own]})
                if names is not None:
                    features = {columns[0]: {"_type": "Image"}, columns[1]: {"names": [*names], "_type": "ClassLabel"}}
                    head = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
                    table = table.replace_schema_metadata(head)
                pq.write_table(table, root / f"{split}-{part:05d}-of-00002.parquet", row_group_size=3)
        return root

    return write


@pytest.fixture
def same() -> Callable[[DataSet, DataSet], None]:
    """See that two data sets have the same images and labels."""

    def check(one: DataSet, other: DataSet) -> None:
        assert (one.classes, one.size, one.augment) == (other.classes, other.size, other.augment)
        assert (one.mean, one.std) == (other.mean, other.std)
        for own, theirs in ((one.train, other.train), (one.test, other.test)):
            assert own is not None
            assert theirs is not None
            assert (own.labels == theirs.labels).all()
            assert (own.images == theirs.images).all()

    return check
