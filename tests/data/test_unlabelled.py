"""Unlabelled images beside labelled ones: where they come from, and what a batch has of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from stkd.core.errors import StkdError
from stkd.data import UNLABELLED, DataSet, ImageFiles, Split, image_tree, open_data
from stkd.data.decode import decode_square
from stkd.data.loader import TrainLoader
from stkd.data.plan import Unlabelled
from stkd.data.unlabelled import with_unlabelled
from stkd.mixing import Mix

SaveImage = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path, save_image: SaveImage) -> Path:
    """Six images of 30 x 20 pixels, flat and in folders."""
    for name in ("a.png", "b.jpg", "x/c.png", "x/d.png", "x/y/e.png", "z/f.webp"):
        save_image(tmp_path / "unlabelled" / name, (30, 20))
    return tmp_path / "unlabelled"


@pytest.fixture
def data(tmp_path: Path, save_image: SaveImage) -> DataSet:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            for k in range(5):
                save_image(tmp_path / "data" / split / name / f"{k}.png", (16, 16))
    return open_data(f"folder:{tmp_path / 'data'}")


def names_of(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_they_come_behind_the_labelled_ones(data: DataSet, folder: Path) -> None:
    both = with_unlabelled(data, folder)
    assert both.train.labels.tolist() == [*data.train.labels, *[UNLABELLED] * 6]
    assert np.array_equal(both.train.images[:10], data.train.images)  # type: ignore[index]
    for position, name in enumerate(names_of(folder)):
        assert np.array_equal(both.train.images[10 + position], decode_square(folder / name, 3, 16))  # type: ignore[index]
    assert both.train.files is not None
    assert len(both.train.files) == 16
    assert both.fingerprint != data.fingerprint
    assert with_unlabelled(data, folder).fingerprint == both.fingerprint
    assert (both.classes, both.mean, both.test) == (data.classes, data.mean, data.test)


def test_beside_images_that_are_no_files(folder: Path) -> None:
    digits = open_data("digits")
    both = with_unlabelled(digits, folder)
    assert both.train.images.shape == (len(digits.train) + 6, 1, 8, 8)  # type: ignore[union-attr]
    assert np.array_equal(both.train.images[-6], decode_square(folder / "a.png", 1, 8))  # type: ignore[index]


def test_beside_files_that_stay_on_disk(data: DataSet, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = with_unlabelled(data, folder)
    monkeypatch.setattr(image_tree, "STORE_LIMIT", 0)
    streamed = with_unlabelled(data, folder)
    assert isinstance(streamed.train.images, ImageFiles)
    batches = [
        TrainLoader(
            own, batch_size=8, mix=Mix(), augmentation="crop4", seed=0, device=torch.device("cpu"),
            unlabelled=Unlabelled(6, 1.0),
        ).epoch(2)
        for own in (whole, streamed)
    ]  # fmt: skip
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.targets, other.targets)
    with pytest.raises(StkdError, match="6 unlabelled images do not fit into memory beside images that are no files"):
        with_unlabelled(open_data("digits"), folder)


def test_a_batch_has_as_many_of_both_and_labels_of_the_labelled_ones(data: DataSet, folder: Path) -> None:
    loader = TrainLoader(
        with_unlabelled(data, folder), batch_size=6, mix=Mix(), augmentation="none", seed=0,
        device=torch.device("cpu"), unlabelled=Unlabelled(6, 0.5),
    )  # fmt: skip
    assert loader.steps == 3  # of four labelled images each
    for batch in loader.epoch(0):
        assert (batch.labels == UNLABELLED).sum() == 2
        torch.testing.assert_close(batch.targets.sum(), torch.tensor(4.0))


def test_unlabelled_images_of_its_own_join_them(data: DataSet, folder: Path) -> None:
    labels = data.train.labels.copy()
    labels[[0, 7]] = UNLABELLED
    both = with_unlabelled(replace(data, train=replace(data.train, labels=labels)), folder)
    assert both.train.labels.tolist() == [0] * 4 + [1] * 4 + [UNLABELLED] * 8
    assert both.train.files is not None
    assert [name.rpartition("/")[2] for name in both.train.files.names[8:10]] == ["0.png", "2.png"]


def test_broken_files(data: DataSet, folder: Path) -> None:
    (folder / "a.png").write_text("no image")
    with pytest.raises(StkdError, match=r"a\.png is broken or no image"):
        with_unlabelled(data, folder)
    assert len(with_unlabelled(data, folder, skip_bad=True).train) == 15


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("nowhere", "is no folder; give one of images"),
        ("data/train/cat/0.png", "is no folder"),
        ("empty", "has no images"),
        ("data/test", "10 of 10 images are images of the data set itself, such as .*test/cat/0.png"),
        (".", "20 of 26 images are images of the data set itself"),
    ],
)
def test_folders_that_cannot_be(data: DataSet, folder: Path, tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StkdError, match=words) as error:
        with_unlabelled(data, tmp_path / place)
    assert "\n" not in str(error.value)


def test_no_labelled_image(data: DataSet, folder: Path) -> None:
    bare = Split(data.train.images, np.full(len(data.train), UNLABELLED), data.train.decoded)
    with pytest.raises(StkdError, match="no labelled training image for --unlabelled to go beside"):
        with_unlabelled(replace(data, train=bare), folder)
