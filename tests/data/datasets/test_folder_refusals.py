"""Folders that are no data set: one line that names the folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from stkd.core.errors import StkdError
from stkd.data import open_data

from .conftest import COLOURS, fill


def refused(root: Path, message: str) -> None:
    with pytest.raises(StkdError, match=message) as caught:
        open_data(f"folder:{root}")
    assert "\n" not in str(caught.value)
    assert str(root) in str(caught.value)


def test_no_images(tmp_path: Path) -> None:
    refused(tmp_path, "has no images; give a folder of images")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "a.svg").write_text("x")
    refused(tmp_path, r"has no images \(left out: .*1 not an image type that is read \(\.txt\).*\); give")


def test_empty_class_folder(tmp_path: Path, save_image) -> None:
    fill(tmp_path, save_image)
    (tmp_path / "fox").mkdir()
    data = open_data(f"folder:{tmp_path}")
    assert data.classes == ("cat", "dog", "eel")
    assert data.listing.folders == {"train": {**dict.fromkeys(COLOURS, 3), "fox": 0}}


@pytest.mark.parametrize("nested", [False, True])
def test_classes_that_hold_the_splits(tmp_path: Path, save_image, nested: bool) -> None:
    for name in ("cat", "dog"):
        fill(tmp_path / name, save_image, 1, ("train", "test"))
    message = r"laid out as PATH/CLASS/SPLIT/\*\.jpg \(cat/.*\), but PATH/SPLIT/CLASS/\*\.jpg is wanted; move"
    with pytest.raises(StkdError, match=message) as caught:
        open_data(f"folder:{tmp_path}", nested=nested)
    assert "\n" not in str(caught.value)


def test_folder_around_the_data_set(tmp_path: Path, save_image) -> None:
    fill(tmp_path / "set" / "train", save_image, 2)
    fill(tmp_path / "set" / "test", save_image, 2)
    refused(tmp_path, "holds the data set in set; write folder:.*/set")


def test_empty_split(tmp_path: Path, save_image) -> None:
    fill(tmp_path / "train", save_image)
    (tmp_path / "test").mkdir()
    refused(tmp_path, "test has no images")


def test_one_class(tmp_path: Path, save_image) -> None:
    fill(tmp_path, save_image, 5, ("cat",))
    refused(tmp_path, "has the one class 'cat', and a classifier needs two")


def test_one_image_of_a_class(tmp_path: Path, save_image) -> None:
    fill(tmp_path, save_image, 5)
    save_image(tmp_path / "fox" / "1.png")
    with pytest.raises(StkdError, match="class 'fox' has one image, and a split needs two"):
        open_data(f"folder:{tmp_path}")


def test_class_of_the_test_split_that_train_lacks(tmp_path: Path, save_image) -> None:
    fill(tmp_path / "train", save_image, 2, ("cat", "dog"))
    fill(tmp_path / "test", save_image, 2)
    refused(tmp_path, "class 'eel' of test is not in train; add training images or remove the class")


def test_class_of_train_that_test_lacks_is_fine(tmp_path: Path, save_image) -> None:
    fill(tmp_path / "train", save_image, 2)
    fill(tmp_path / "test", save_image, 2, ("dog",))
    data = open_data(f"folder:{tmp_path}")
    assert data.test.labels.tolist() == [1, 1]


def test_test_images_without_a_class(tmp_path: Path, save_image) -> None:
    fill(tmp_path / "train", save_image)
    fill(tmp_path / "test", save_image)
    save_image(tmp_path / "test" / "stray.png")
    assert len(open_data(f"folder:{tmp_path}").test) == 9
    for name in COLOURS:
        shutil.rmtree(tmp_path / "test" / name)
    refused(tmp_path, r"test/stray\.png is a test image in no class folder; move it into one or remove it")


def test_test_split_without_train(tmp_path: Path, save_image) -> None:
    fill(tmp_path / "test", save_image)
    refused(tmp_path, "has test but no train; add it, or write folder:.*test to split that folder")


def test_two_validation_folders(tmp_path: Path, save_image) -> None:
    for name in ("train", "val", "valid"):
        fill(tmp_path / name, save_image)
    refused(tmp_path, "has both val and valid; keep one of them")


def test_val_fraction_beside_a_validation_split(tmp_path: Path, save_image) -> None:
    for name in ("train", "val", "test"):
        fill(tmp_path / name, save_image)
    with pytest.raises(StkdError, match=r"has a validation split of its own \(9 images\); leave val_fraction at 0"):
        open_data(f"folder:{tmp_path}", val_fraction=0.1)


@pytest.mark.parametrize("content", [b"no image", b"\x89PNG\r\n\x1a\n" + b"x" * 50])
@pytest.mark.parametrize("side", [20, 32])
def test_corrupt_image_is_named(tmp_path: Path, save_image, content: bytes, side: int) -> None:
    fill(tmp_path, save_image, 4, size=(side, side))
    (tmp_path / "dog" / "2.png").write_bytes(content)
    refused(tmp_path, r"dog/2\.png is broken or no image .*; delete or replace it, or go on without it by --skip-bad")


def test_link_loop(tmp_path: Path, save_image) -> None:
    fill(tmp_path, save_image)
    (tmp_path / "cat" / "again").symlink_to(tmp_path)
    refused(tmp_path, "cat/again is a link that leads back to a folder above it; remove the link")


def test_link_to_itself(tmp_path: Path, save_image) -> None:
    fill(tmp_path, save_image)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    refused(tmp_path, "self .*; (mend or remove it|check its permissions or remove it)")


@pytest.mark.parametrize("name", ["cat/lost.png", "fox"])
def test_broken_link(tmp_path: Path, save_image, name: str) -> None:
    fill(tmp_path, save_image)
    (tmp_path / name).symlink_to(tmp_path / "nowhere")
    refused(tmp_path, f"{name} is a broken link; delete or replace it")
    data = open_data(f"folder:{tmp_path}", skip_bad=True)
    assert data.listing.left == {"broken": (name,)}


@pytest.mark.parametrize("name", ["cat", "cat/0.png"])
def test_permission_denied(tmp_path: Path, save_image, name: str) -> None:
    fill(tmp_path, save_image)
    (tmp_path / name).chmod(0)
    if os.access(tmp_path / name, os.R_OK):
        pytest.skip("this user may read everything")
    try:
        refused(tmp_path, r"cannot be read \(Permission denied\)")
    finally:
        (tmp_path / name).chmod(0o755)


def test_folder_that_may_not_be_listed(tmp_path: Path, save_image, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, save_image)
    list_folder = os.scandir

    def scandir(path):
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return list_folder(path)

    monkeypatch.setattr(os, "scandir", scandir)
    refused(tmp_path, r"dog cannot be read \(Permission denied\); check its permissions")
