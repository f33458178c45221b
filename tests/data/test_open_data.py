from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stkd.core.errors import StkdError
from stkd.data import ImageFiles, open_data, sources


def test_all_sources_are_found_by_name() -> None:
    assert {"digits", "fashion-mnist", "cifar10", "cifar100", "tiny-imagenet", "cinic10", "folder"} <= set(sources)
    assert all(entry.summary for entry in sources.entries())


def test_digits() -> None:
    data = open_data("digits")
    assert data.classes == tuple("0123456789")
    assert (data.channels, data.size, data.augment, data.val) == (1, 8, "none", None)
    assert data.test is not None
    assert data.train.images.shape == (1297, 1, 8, 8)
    assert data.test.images.shape == (500, 1, 8, 8)
    assert data.train.images.dtype == np.uint8
    assert data.train.labels.dtype == np.int64
    assert data.train.images.min() == 0
    assert data.train.images.max() == 255
    assert np.ptp(np.bincount(data.test.labels)) <= 3
    scaled = data.train.images / 255
    assert data.mean == pytest.approx((scaled.mean(),))
    assert data.std == pytest.approx((scaled.std(),))


def test_digits_test_split_does_not_depend_on_the_seed() -> None:
    one, two = open_data("digits", split_seed=1), open_data("digits", split_seed=2)
    assert one.fingerprint == two.fingerprint
    np.testing.assert_array_equal(one.test.images, two.test.images)


def test_image_size() -> None:
    data = open_data("digits", image_size=16)
    assert data.size == 16
    assert data.train.images.shape == (1297, 1, 16, 16)
    assert data.fingerprint != open_data("digits").fingerprint


def rows(images: np.ndarray | ImageFiles) -> list[bytes]:
    return [image.tobytes() for image in images]


@settings(max_examples=20, deadline=None)
@given(fraction=st.floats(0.02, 0.9), seed=st.integers(0, 5))
def test_validation_split_is_disjoint_and_stratified(fraction: float, seed: int) -> None:
    whole = open_data("digits")
    data = open_data("digits", val_fraction=fraction, split_seed=seed)
    assert len(data.val) == round(fraction * 1297)
    assert sorted(rows(data.train.images) + rows(data.val.images)) == sorted(rows(whole.train.images))
    share = np.bincount(data.val.labels, minlength=10) / np.bincount(whole.train.labels)
    assert np.abs(share - fraction).max() < 0.02
    np.testing.assert_array_equal(data.test.images, whole.test.images)
    assert data.mean == whole.mean


def test_subset_comes_after_the_validation_split() -> None:
    data = open_data("digits", val_fraction=0.2)
    small = open_data("digits", val_fraction=0.2, train_images=100)
    np.testing.assert_array_equal(small.val.images, data.val.images)
    assert set(rows(small.train.images)) <= set(rows(data.train.images))
    assert len(small.train) == 100
    assert np.bincount(small.train.labels).min() >= 9


def test_fingerprint_tells_splits_apart() -> None:
    options = [{}, {"val_fraction": 0.1}, {"train_images": 100}, {"train_images": 100, "split_seed": 1}]
    prints = [open_data("digits", **options_).fingerprint for options_ in options]
    assert len(set(prints)) == 4
    assert prints == [open_data("digits", **options_).fingerprint for options_ in options]


def test_home_and_variables_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_image) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png", "b/2.png"):
        save_image(tmp_path / "set" / name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WHERE", "set")
    monkeypatch.chdir(tmp_path)
    prints = {
        open_data(spec).fingerprint for spec in ("folder:~/$WHERE", "folder:${WHERE}", "folder:set", "folder:./set/")
    }
    assert len(prints) == 1


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("digitz", {}, "unknown data set 'digitz'; did you mean digits"),
        ("", {}, "unknown data set ''; known: "),
        (":x", {}, "unknown data set ''"),
        ("digits:/some/where", {}, "digits .* takes no path; write digits alone"),
        ("digits:", {}, "'digits:' has an empty path; write digits:PATH, or digits alone"),
        ("folder", {}, "folder needs the place of its files; write folder:PATH"),
        ("cifar10", {}, "cifar10 needs the place of its files; write cifar10:PATH"),
        ("tiny-imagenet", {}, "write tiny-imagenet:PATH"),
        ("cinic10", {}, "write cinic10:PATH"),
        ("folder:/no/such", {}, "folder: /no/such does not exist; check the path"),
        ("folder:$NOT_SET_AT_ALL/x", {}, r"names the variable \$NOT_SET_AT_ALL, which is not set"),
        ("folder:a\0b", {}, "does not exist"),
        ("digits", {"labels": "coarse"}, "digits has no coarse labels; only cifar100 does"),
        ("digits", {"labels": "other"}, "labels is 'other'; use fine or coarse"),
        ("digits", {"val_fraction": 1.0}, "val_fraction is 1.0; use a share from 0 to below 1"),
        ("digits", {"val_fraction": -0.1}, "val_fraction is -0.1"),
        ("digits", {"val_fraction": float("nan")}, "val_fraction is nan"),
        ("digits", {"val_fraction": 0.001}, "use a share from 0.0077"),
        ("digits", {"train_images": 0}, "train_images is 0; use a positive number"),
        ("digits", {"train_images": 1298}, "only 1297 labelled"),
        ("digits", {"train_images": 9}, "there are 10 classes; ask for at least one"),
        ("digits", {"val_fraction": 0.5, "train_images": 700}, "only 649 labelled"),
        ("digits", {"image_size": 4}, "image_size is 4; use a side from 8 to 4096"),
        ("digits", {"image_size": 4096}, "1797 images do not fit memory at image_size 4096; use at most 1093"),
        ("digits", {"crop_pct": 0}, "crop_pct is 0; use a share of the shorter side from 0.1 to 1"),
        ("digits", {"crop_pct": 1.2}, "crop_pct is 1.2"),
        ("digits", {"interpolation": "nearest"}, "interpolation is 'nearest'; use bilinear or bicubic"),
        ("digits", {"split_seed": -1}, "split_seed is -1; use 0 or a positive number"),
    ],
)
def test_bad_requests_give_one_line(spec: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(StkdError, match=message) as caught:
        open_data(spec, **options)
    assert "\n" not in str(caught.value)


def test_path_without_kind(tmp_path: Path) -> None:
    with pytest.raises(StkdError, match=f"is a path without a kind; write folder:{tmp_path}"):
        open_data(str(tmp_path))


def test_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for kind in ("folder", "tiny-imagenet", "cinic10", "fashion-mnist"):
        with pytest.raises(StkdError, match="file is a file; give the folder"):
            open_data(f"{kind}:{tmp_path}/file")


def test_import_stays_light() -> None:
    script = (
        "import sys, stkd; before = set(sys.modules); import stkd.data;"
        "print(sorted({'torch', 'sklearn', 'PIL'} & set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_windows_paths_keep_their_colon(pictures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pictures.parent)
    pictures.rename(pictures.parent / "C:\\images")
    assert open_data("folder:C:\\images").classes == ("cat", "dog")
    with pytest.raises(StkdError, match=r"'C:\\\\images' is a path without a kind; write folder:C:\\images"):
        open_data("C:\\images")
