"""Folders of images: splits, classes, what is kept of them."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stkd.core.errors import StkdError
from stkd.data import UNLABELLED, ImageFiles, Request, image_tree, open_data, sources
from stkd.data.channel_stats import IMAGENET_MEAN, channel_stats
from stkd.data.image_tree import list_images

from .conftest import COLOURS, fill

FLAT, NESTED = "b8bd8a34aadafeed3e95c47658199521", "4869bc14ff108a9a6b275e008bdfaccc"
"""Fingerprints that version 0.1.0 gave the sets of `test_fingerprints_of_earlier_versions`."""


def check_colours(split, classes: tuple[str, ...]) -> None:
    """Every image has the colour of its class."""
    for image, label in zip(split.images, split.labels, strict=True):
        assert image.reshape(3, -1).mean(1).round().tolist() == list(COLOURS[classes[label]])


def test_three_splits(tmp_path: Path, save_image) -> None:
    for part, count in {"train": 4, "val": 2, "test": 3}.items():
        fill(tmp_path / part, save_image, count)
    data = open_data(f"folder:{tmp_path}", image_size=24)
    assert data.classes == ("cat", "dog", "eel")
    assert (data.channels, data.size, data.augment) == (3, 24, "crop4")
    assert [len(s) for s in (data.train, data.val, data.test)] == [12, 6, 9]
    for split in (data.train, data.val, data.test):
        assert split.images.shape[1:] == (3, 24, 24)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int64
        check_colours(split, data.classes)
    assert (data.mean, data.std) == channel_stats(data.train.images)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val", "test", "TEST"])
def test_two_splits_the_other_one_is_the_test_split(tmp_path: Path, save_image, name: str) -> None:
    fill(tmp_path / "Train", save_image, 4)
    fill(tmp_path / name, save_image, 2)
    data = open_data(f"folder:{tmp_path}")
    assert data.val is None
    assert len(data.test) == 6
    check_colours(data.test, data.classes)


@pytest.mark.parametrize("inner", ["", "train"])
def test_one_tree_is_split(tmp_path: Path, save_image, inner: str) -> None:
    fill(tmp_path / inner, save_image, 10)
    data = open_data(f"folder:{tmp_path}")
    assert np.bincount(data.train.labels).tolist() == [8, 8, 8]
    assert np.bincount(data.test.labels).tolist() == [2, 2, 2]
    check_colours(data.train, data.classes)
    check_colours(data.test, data.classes)
    assert data.fingerprint == open_data(f"folder:{tmp_path}").fingerprint
    assert data.fingerprint != open_data(f"folder:{tmp_path}", split_seed=1).fingerprint


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(2, 9), min_size=2, max_size=5), seed=st.integers(0, 3), share=st.floats(0.05, 0.5))
def test_split_of_one_tree_is_disjoint_and_has_every_class(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int, share: float
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for label, size in enumerate(sizes):
        (root / f"c{label}").mkdir()
        for k in range(size):
            Image.new("RGB", (8, 8), (label * 20, k * 20, 7)).save(root / f"c{label}" / f"{k}.bmp")
    data = sources.get("folder")(root, Request(split_seed=seed, test_fraction=share))
    seen = [tuple(image[:, 0, 0].tolist()) for split in (data.train, data.test) for image in split.images]
    assert sorted(seen) == sorted((label * 20, k * 20, 7) for label, size in enumerate(sizes) for k in range(size))
    for split in (data.train, data.test):
        assert np.bincount(split.labels, minlength=len(sizes)).min() >= 1
        np.testing.assert_array_equal(split.images[:, 0, 0, 0], split.labels * 20)


def test_oddly_named_classes(tmp_path: Path, save_image) -> None:
    names = ["with space", "ünï-çødé", "日本", "a.b", "100%", "'quoted\"", "new\nline", "train", "Cat", "cat", " cat"]
    fill(tmp_path / "train", save_image, 2, tuple(names))
    fill(tmp_path / "test", save_image, 1, tuple(names))
    data = open_data(f"folder:{tmp_path}")
    assert data.classes == tuple(sorted(names))
    assert np.bincount(data.test.labels).tolist() == [1] * len(names)
    assert data.listing.folders["train"] == dict.fromkeys(names, 2)


def test_nested_folders_are_classes_where_asked_for(tmp_path: Path, save_image) -> None:
    names = ("animals", "animals/cat", "church/2021")
    fill(tmp_path / "train", save_image, 2, names)
    (tmp_path / "train" / "empty" / "inside").mkdir(parents=True)
    data = open_data(f"folder:{tmp_path}/train", nested=True, image_size=16)
    assert data.classes == names
    assert data.listing.folders == {"train": {**dict.fromkeys(names, 2), "empty/inside": 0}}
    flat = open_data(f"folder:{tmp_path}/train", image_size=16)
    assert flat.classes == ("animals", "church")
    assert flat.listing.folders == {"train": {"animals": 4, "church": 2, "empty": 0}}
    assert flat.fingerprint != data.fingerprint


def test_fingerprints_of_earlier_versions(tmp_path: Path) -> None:
    """Runs that go on, and caches: what is not asked for changes nothing, and nested classes are still to be had."""
    for number, name in enumerate(("cat/a", "dog/a", "dog/b", "cat/b")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{name}.bmp")
    assert open_data(f"folder:{tmp_path}", nested=True).fingerprint == FLAT
    assert open_data(f"folder:{tmp_path}", skip_bad=True).fingerprint == FLAT
    for name in ("cat", "dog"):
        (tmp_path / "all").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "all" / name)
    assert open_data(f"folder:{tmp_path}", nested=True).fingerprint == NESTED


def test_two_spellings_of_an_accent_are_one_class(tmp_path: Path, save_image) -> None:
    spellings = [unicodedata.normalize(form, "café") for form in ("NFC", "NFD")]
    fill(tmp_path / "train", save_image, 2, (spellings[0], "tea"))
    fill(tmp_path / "test", save_image, 2, (spellings[1], "tea"))
    assert open_data(f"folder:{tmp_path}").classes == ("café", "tea")
    fill(tmp_path / "train", save_image, 2, (spellings[1],))
    data = open_data(f"folder:{tmp_path}")
    assert data.classes == tuple(sorted([*spellings, "tea"]))
    assert set(data.listing.folders["train"]) == {*spellings, "tea"}
    assert np.bincount(data.test.labels).tolist() == [2 if name != spellings[0] else 0 for name in data.classes]


def test_names_that_are_no_utf8_can_be_printed(tmp_path: Path, save_image) -> None:
    raw = os.fsdecode(b"caf\xe9")
    try:
        fill(tmp_path, save_image, 3, (raw, "tea"))
    except OSError:
        pytest.skip("the file system wants UTF-8")
    data = open_data(f"folder:{tmp_path}")
    assert data.classes == ("caf\\xe9", "tea")
    "".join(data.classes).encode()


def test_other_files_are_passed_over(tmp_path: Path, save_image) -> None:
    fill(tmp_path / "train", save_image, 2)
    fill(tmp_path / "test", save_image, 1)
    clean = open_data(f"folder:{tmp_path}")
    assert clean.listing.left == {}
    for name in ("Thumbs.db", ".DS_Store", "._0.png", ".hidden.png", "notes.txt", "labels.csv", "noending", "doc.pdf"):
        (tmp_path / "train" / "cat" / name).write_bytes(b"junk")
    for name in (".git/cat", "__MACOSX/cat", "@eaDir", ".thumbnails"):
        save_image(tmp_path / "train" / name / "x.png")
    save_image(tmp_path / "more" / "x.png")
    save_image(tmp_path / "stray.png")
    again = open_data(f"folder:{tmp_path}")
    assert again.fingerprint == clean.fingerprint
    assert len(again.train) == 6
    assert again.listing.folders == clean.listing.folders
    left = {reason: len(names) for reason, names in again.listing.left.items()}
    assert left == {
        "hidden": 5,
        "in no split folder": 2,
        "left by an archiver or a storage system": 2,
        "no ending": 1,
        **{f"not an image type that is read (.{suffix})": 1 for suffix in ("csv", "db", "pdf", "txt")},
    }
    assert again.listing.left["in no split folder"] == ("more", "stray.png")


def test_formats_and_modes_mix(tmp_path: Path, save_image) -> None:
    for suffix in ("jpg", "JPEG", "png", "webp", "bmp", "tif", "gif", "ppm"):
        save_image(tmp_path / "cat" / f"x.{suffix}", colour=(90, 90, 90))
    for mode in ("L", "LA", "RGBA", "P", "1", "I;16", "CMYK"):
        (tmp_path / "dog").mkdir(exist_ok=True)
        Image.new(mode, (30, 20)).save(
            tmp_path / "dog" / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}".replace(";", "")
        )
    data = open_data(f"folder:{tmp_path}")
    assert len(data.train) + len(data.test) == 15
    assert (data.size, data.augment) == (224, "resized")
    cats = np.concatenate([s.images[s.labels == 0] for s in (data.train, data.test)])
    assert np.abs(cats.astype(int) - 90).max() <= 3


def test_images_without_a_class_are_unlabelled(tmp_path: Path, save_image) -> None:
    for k in range(5):
        save_image(tmp_path / "train" / f"{k}.png")
    fill(tmp_path / "test", save_image, 2)
    data = open_data(f"folder:{tmp_path}")
    assert data.train.labels.tolist() == [UNLABELLED] * 5
    assert data.classes == ("cat", "dog", "eel")
    check_colours(data.test, data.classes)
    with pytest.raises(StkdError, match="no training image has a label"):
        open_data(f"folder:{tmp_path}", val_fraction=0.2)
    with pytest.raises(StkdError, match="only 0 labelled training images"):
        open_data(f"folder:{tmp_path}", train_images=2)


def test_nothing_labelled_at_all(tmp_path: Path, save_image) -> None:
    for k in range(5):
        save_image(tmp_path / f"{k}.png")
    data = open_data(f"folder:{tmp_path}")
    assert (data.classes, data.val, data.test) == ((), None, None)
    assert data.train.labels.tolist() == [UNLABELLED] * 5


@pytest.mark.parametrize("split", ["", "train"])
def test_stray_image_beside_the_class_folders_is_left_out(tmp_path: Path, save_image, split: str) -> None:
    fill(tmp_path / split, save_image, 5)
    clean = open_data(f"folder:{tmp_path}")
    save_image(tmp_path / split / "cover.jpg")
    data = open_data(f"folder:{tmp_path}")
    assert (data.train.labels >= 0).all()
    assert len(data.train) + len(data.test) == 15
    assert data.fingerprint == clean.fingerprint
    stray = f"{split}/cover.jpg".lstrip("/")
    assert data.listing.left == {"directly in the split, in no class folder": (stray,)}


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("Training", "testing"), ("train", "dev"), ("training", "Validation"), ("train", "eval")],
)
def test_names_of_split_folders(tmp_path: Path, save_image, train: str, test: str) -> None:
    fill(tmp_path / train, save_image, 3)
    fill(tmp_path / test, save_image, 2)
    save_image(tmp_path / "holdout" / "cat" / "1.png")
    data = open_data(f"folder:{tmp_path}")
    assert (len(data.train), len(data.test), data.val) == (9, 6, None)
    assert data.listing.left == {"in no split folder": ("holdout",)}
    assert data.listing.folders == {"train": dict.fromkeys(COLOURS, 3), "test": dict.fromkeys(COLOURS, 2)}


@pytest.mark.parametrize("name", ["train", "test", "dev"])
def test_class_that_is_called_as_a_split(tmp_path: Path, save_image, name: str) -> None:
    fill(tmp_path, save_image, 3, (name, "bus", "car"))
    assert open_data(f"folder:{tmp_path}").classes == tuple(sorted((name, "bus", "car")))
    fill(tmp_path / "all" / "train", save_image, 3, (name, "bus"))
    fill(tmp_path / "all" / "val", save_image, 3, (name, "bus"))
    assert open_data(f"folder:{tmp_path}/all").classes == tuple(sorted((name, "bus")))


def test_split_folder_of_unlabelled_images_is_no_class(tmp_path: Path, save_image) -> None:
    for k in range(4):
        save_image(tmp_path / "train" / f"{k}.png")
    fill(tmp_path / "other", save_image, 1)
    assert (open_data(f"folder:{tmp_path}").train.labels == UNLABELLED).all()


@pytest.mark.parametrize(("side", "size", "augment"), [(32, 32, "crop4"), (64, 64, "crop8"), (65, 224, "resized")])
def test_equal_small_squares_keep_their_size(tmp_path: Path, save_image, side: int, size: int, augment: str) -> None:
    fill(tmp_path, save_image, 3, size=(side, side))
    data = open_data(f"folder:{tmp_path}")
    assert (data.size, data.augment) == (size, augment)
    save_image(tmp_path / "cat" / "zz.png", size=(side, side - 1))
    assert open_data(f"folder:{tmp_path}").size == 224


def test_shorter_side_is_resized_and_the_centre_kept(tmp_path: Path) -> None:
    pixels = np.zeros((16, 48, 3), np.uint8)
    pixels[:, 16:32] = 255
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name)
    data = open_data(f"folder:{tmp_path}", image_size=8)
    assert (data.train.images == 255).all()


def test_large_sets_stay_on_disk(tmp_path: Path, save_image, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    fill(tmp_path / "train", save_image, 4)
    fill(tmp_path / "val", save_image, 2)
    stored = open_data(f"folder:{tmp_path}", image_size=24)
    monkeypatch.setattr(image_tree, "STORE_LIMIT", 18 * 3 * 24 * 24 - 1)
    data = open_data(f"folder:{tmp_path}", image_size=24)
    assert isinstance(data.train.images, ImageFiles)
    assert data.train.images.names[:2] == ("train/cat/0.png", "train/cat/1.png")
    assert (data.train.images.root, data.train.images.size) == (tmp_path, 24)
    assert data.mean == IMAGENET_MEAN
    np.testing.assert_array_equal(data.train.labels, stored.train.labels)
    held = open_data(f"folder:{tmp_path}", image_size=24, val_fraction=0.25)
    assert (len(held.train), len(held.val)) == (9, 3)
    assert not set(held.train.images.names) & set(held.val.images.names)
    save_image(tmp_path / "train" / "cat" / "0.png", size=(99, 99))
    assert open_data(f"folder:{tmp_path}", image_size=24).fingerprint != data.fingerprint


def test_second_opening_decodes_nothing(tmp_path: Path, save_image, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "train", save_image, 4, size=(32, 32))
    fill(tmp_path / "test", save_image, 2, size=(32, 32))
    first = open_data(f"folder:{tmp_path}")
    monkeypatch.setattr(image_tree, "decode_square", lambda *_: pytest.fail("decoded again"))
    again = open_data(f"folder:{tmp_path}")
    assert isinstance(again.train.images, np.memmap)
    np.testing.assert_array_equal(again.train.images, first.train.images)
    assert (again.mean, again.std, again.fingerprint) == (first.mean, first.std, first.fingerprint)


def test_replaced_image_is_seen(tmp_path: Path, save_image) -> None:
    fill(tmp_path / "train", save_image, 2)
    fill(tmp_path / "test", save_image, 2)
    first = open_data(f"folder:{tmp_path}")
    save_image(tmp_path / "train" / "cat" / "0.png", colour=(1, 2, 3))
    again = open_data(f"folder:{tmp_path}")
    assert again.fingerprint != first.fingerprint
    assert again.train.images[0, :, 0, 0].tolist() == [1, 2, 3]


def test_unwritable_cache_is_no_obstacle(
    tmp_path: Path, save_image, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "set", save_image, 3)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STKD_CACHE", str(tmp_path / "file" / "x"))
    data = open_data(f"folder:{tmp_path}/set")
    assert "stay in memory" in caplog.text
    check_colours(data.train, data.classes)


def test_links_are_followed(tmp_path: Path, save_image) -> None:
    fill(tmp_path / "real", save_image, 3)
    (tmp_path / "set" / "cat").mkdir(parents=True)
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "real" / "dog")
    (tmp_path / "set" / "eel").symlink_to(tmp_path / "real" / "eel")
    for k in range(2):
        (tmp_path / "set" / "cat" / f"{k}.png").symlink_to(tmp_path / "real" / "cat" / f"{k}.png")
    tree = list_images(tmp_path, "set")
    assert tree.classes == ("cat", "cat", "dog", "dog", "dog", "eel", "eel", "eel")
    assert tree.names == (
        "set/cat/0.png",
        "set/cat/1.png",
        *(f"set/{c}/{k}.png" for c in ("dog", "eel") for k in range(3)),
    )


def test_coarse_labels(tmp_path: Path, save_image) -> None:
    fill(tmp_path, save_image)
    with pytest.raises(StkdError, match="folder has no coarse labels"):
        open_data(f"folder:{tmp_path}", labels="coarse")
