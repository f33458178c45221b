"""Images in Parquet files: the same as in folders; one line for each mistake."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stkd
from stkd.core.errors import StkdError
from stkd.data import UNLABELLED, DataSet, ImageFiles, image_tree, open_data
from stkd.data.loader import eval_batches

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (stkd[parquet])")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (stkd[parquet])")

parquet_files = pytest.importorskip("stkd.data.parquet_files", reason="pyarrow is not installed (stkd[parquet])")

Write = Callable[..., Path]
Same = Callable[[DataSet, DataSet], None]


def change(file: Path, make: Callable[[Any], Any]) -> None:
    """Write a Parquet file anew with another table."""
    pq.write_table(make(pq.read_table(file)), file)


def replaced(column: str, values: Any) -> Callable[[Any], Any]:
    """Makes a table with another column in the place of one."""

    def make(table: Any) -> Any:
        own = values(table[column].to_pylist()) if callable(values) else values
        return table.set_column(table.schema.get_field_index(column), column, own)

    return make


@pytest.mark.parametrize("struct", [True, False])
def test_parquet_is_the_same_data_as_folders(pictures: Path, as_parquet: Write, same: Same, struct: bool) -> None:
    same(open_data(f"parquet:{as_parquet(struct=struct)}"), open_data(f"folder:{pictures}"))


def test_labels_that_are_names(pictures: Path, as_parquet: Write, same: Same) -> None:
    same(open_data(f"parquet:{as_parquet(str, names=None)}"), open_data(f"folder:{pictures}"))
    for file in (root := as_parquet(str, names=None)).iterdir():
        change(file, replaced("label", lambda values: pa.array(values).dictionary_encode()))
    same(open_data(f"parquet:{root}"), open_data(f"folder:{pictures}"))


def test_order_and_names_of_the_classes(as_parquet: Write, tmp_path: Path) -> None:
    data = open_data(f"parquet:{as_parquet(['dog', 'cat'].index, names=('zebra', 'zebra', 'ant'))}")
    assert data.classes == ("zebra (0)", "zebra (1)", "ant")
    assert data.train.labels.tolist() == [1] * 5 + [0] * 5
    root = as_parquet(names=None, root=tmp_path / "bare")
    assert open_data(f"parquet:{root}").classes == ("0", "1")
    (root / "dataset_infos.json").write_text('{"default": {"features": {"label": {"names": ["a", "b"]}}}}')
    assert open_data(f"parquet:{root}").classes == ("a", "b")


def test_images_are_read_where_they_lie(as_parquet: Write, pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(image_tree, "STORE_LIMIT", 0)
    sets = [open_data(spec, image_size=24) for spec in (f"parquet:{as_parquet()}", f"folder:{pictures}")]
    assert all(isinstance(data.train.images, ImageFiles) for data in sets)
    shown = [
        torch.cat([images for images, _ in eval_batches(d.train, d, batch_size=4, device=torch.device("cpu"))])
        for d in sets
    ]
    assert torch.equal(*shown)


def test_columns_are_chosen(as_parquet: Write, tmp_path: Path) -> None:
    root = as_parquet(columns=("left", "kind"), names=None)
    for file in root.iterdir():
        change(file, lambda table: table.append_column("right", table["left"]))
    with pytest.raises(StkdError, match=r"several columns of images \(left, right\); choose one by PATH:image=left"):
        open_data(f"parquet:{root}")
    with pytest.raises(StkdError, match=r"no column label .*; choose that of the labels by PATH:label=NAME"):
        open_data(f"parquet:{root}:image=left")
    with pytest.raises(StkdError, match="did you mean left"):
        open_data(f"parquet:{root}:image=lefft,label=kind")
    with pytest.raises(StkdError, match="no labels in its column left, but struct"):
        open_data(f"parquet:{root}:image=left,label=left")
    with pytest.raises(StkdError, match="holds no images in its column kind"):
        open_data(f"parquet:{root}:image=kind,label=kind")
    assert len(open_data(f"parquet:{root}:image=left,label=kind").train) == 10
    known = as_parquet(columns=("picture", "animal"), root=tmp_path / "known")  # a ClassLabel is that of the labels
    assert open_data(f"parquet:{known}").classes == ("cat", "dog")


def test_fine_and_coarse_labels(as_parquet: Write) -> None:
    root = as_parquet(columns=("img", "fine_label"))
    for file in root.iterdir():
        change(file, lambda table: table.append_column("coarse_label", pa.array([5] * len(table))))
    assert open_data(f"parquet:{root}").classes == ("cat", "dog")
    with pytest.raises(StkdError, match="one class"):
        open_data(f"parquet:{root}", labels="coarse")
    with pytest.raises(StkdError, match="no column coarse_label"):
        open_data(f"parquet:{as_parquet(root=root.parent / 'plain')}", labels="coarse")


def test_nulls_are_unlabelled_images_and_rows_without_an_image(as_parquet: Write) -> None:
    root = as_parquet(names=None)
    train, test = sorted(root.glob("train*")), sorted(root.glob("test*"))
    change(train[0], replaced("label", lambda values: pa.array([None, -1, *values[2:]], pa.int64())))
    assert (open_data(f"parquet:{root}").train.labels == UNLABELLED).sum() == 2
    change(train[0], replaced("image", lambda values: pa.array([None, {"bytes": b"", "path": "a"}, *values[2:]])))
    with pytest.raises(
        StkdError, match=r"2 files that cannot be used: train-00000-of-00002\.parquet/0 has no image in"
    ):
        open_data(f"parquet:{root}")
    left = open_data(f"parquet:{root}", skip_bad=True)
    assert len(left.train) == 8
    assert left.listing is not None
    assert len(left.listing.left["broken"]) == 2
    change(test[0], replaced("label", lambda values: pa.array([None, *values[1:]], pa.int64())))
    with pytest.raises(StkdError, match="1 test images have no label, such as test-00000"):
        open_data(f"parquet:{root}", skip_bad=True)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (replaced("image", lambda values: pa.array([1] * len(values))), "no column of images .image int64"),
        (replaced("image", lambda values: pa.array([[1]] * len(values))), "as binary or as a struct {bytes, path}"),
        (replaced("label", lambda values: pa.array([0.5] * len(values))), "no labels in its column label, but double"),
        (replaced("label", lambda values: pa.array([[0]] * len(values))), "no labels in its column label, but list"),
        (replaced("label", lambda values: pa.array([9] * len(values))), "a label is 9, but 2 classes have a name"),
        (lambda table: table.rename_columns(["image", "text"]).replace_schema_metadata(), "no column label"),
        (lambda table: table.slice(0, 0), "no training images"),
    ],
)
def test_columns_of_a_wrong_kind(as_parquet: Write, make: Callable[[Any], Any], words: str) -> None:
    root = as_parquet()
    for file in root.iterdir():
        change(file, make)
    with pytest.raises(StkdError, match=words) as error:
        open_data(f"parquet:{root}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda raw: raw[:-20], "is damaged or no Parquet file"),
        (lambda raw: raw[:400] + bytes(200) + raw[600:], "is damaged or no|broken or no image"),
        (lambda raw: b"version https://git-lfs.github.com/spec/v1\n", "pointer of Git LFS .*; run git lfs pull"),
    ],
)
def test_damaged_files(as_parquet: Write, damage: Callable[[bytes], bytes], words: str, cache: Path) -> None:
    root = as_parquet()
    file = root / "train-00001-of-00002.parquet"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(StkdError, match=words) as error:
        open_data(f"parquet:{root}")
    assert "\n" not in str(error.value)
    assert not list(cache.glob(".*"))


def test_columns_of_other_lengths(as_parquet: Write, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = parquet_files._labels
    monkeypatch.setattr(parquet_files, "_labels", lambda *given: [*kept(*given), 0])
    with pytest.raises(StkdError, match=r"is damaged \(4 images for 5 labels\); copy it again"):
        open_data(f"parquet:{as_parquet()}")
    assert not list(cache.glob("*encoded*"))


def test_files_that_are_missing_or_of_another_data_set(as_parquet: Write, tmp_path: Path) -> None:
    root = as_parquet()
    other = as_parquet(columns=("image", "kind"), root=tmp_path / "parquet" / "other")
    with pytest.raises(StkdError, match=r"has other columns than .* \(image struct.*; give the folder of one of the"):
        open_data(f"parquet:{root}")
    for file in other.iterdir():
        file.unlink()
    (root / "train-00000-of-00002.parquet").unlink()
    with pytest.raises(StkdError, match=r"lacks 1 of 2 files of one series, such as train-00000-of-00002\.parquet"):
        open_data(f"parquet:{root}")
    with pytest.raises(StkdError, match="does not exist; check the path"):
        open_data(f"parquet:{root / 'nowhere'}")


def test_a_cache_that_cannot_be_written(as_parquet: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("stkd.data.decoded_cache.atomic_file", full)
    with pytest.raises(StkdError, match=r"cannot be written \(No space left on device\); set STKD_CACHE"):
        open_data(f"parquet:{as_parquet()}")


def test_without_pyarrow(as_parquet: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    root = as_parquet()
    monkeypatch.delitem(sys.modules, "stkd.data.parquet_files", raising=False)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(StkdError, match=r"pip install 'stkd\[parquet\]'"):
        open_data(f"parquet:{root}")


def test_a_run_trains_on_parquet_and_is_opened_again(as_parquet: Write, tmp_path: Path, cache: Path) -> None:
    spec = f"parquet:{as_parquet()}"
    options: dict[str, Any] = {"epochs": 1, "batch_size": 4, "compile": "none", "preflight": "off"}
    run = stkd.train("cnn2", spec, out=tmp_path / "run", **options)
    for file in cache.glob("*-encoded.bin"):
        file.unlink()  # the cache may be emptied at any time
    assert not stkd.train("cnn2", spec, out=tmp_path / "run", **options).fresh
    assert np.isfinite(run.scores["test"]["nll"])
