from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stkd.core.errors import StkdError
from stkd.data import open_data

WORDS = {
    "n03": "crane, hoisting machine",
    "n01": "goldfish, Carassius auratus",
    "n02": "crane",
    "n99": "not in this set",
}
GREY = {"n01": 40, "n02": 120, "n03": 200}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "tiny-imagenet-200"
    for wnid, grey in GREY.items():
        folder = root / "train" / wnid / "images"
        folder.mkdir(parents=True)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.JPEG\t0\t0\t63\t63\n")
        for k in range(4):
            Image.new("L" if k == 0 else "RGB", (64, 64), grey if k == 0 else (grey,) * 3).save(
                folder / f"{wnid}_{k}.JPEG"
            )
    (root / "val" / "images").mkdir(parents=True)
    lines = []
    for k, wnid in enumerate(["n02", "n01", "n03", "n02"]):
        Image.new("RGB", (64, 64), (GREY[wnid],) * 3).save(root / "val" / "images" / f"val_{k}.JPEG")
        lines.append(f"val_{k}.JPEG\t{wnid}\t0\t32\t44\t62\n")
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    (root / "test" / "images").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(root / "test" / "images" / "test_0.JPEG")
    (root / "wnids.txt").write_text("n03\nn01\nn02\n")
    (root / "words.txt").write_text("".join(f"{wnid}\t{words}\n" for wnid, words in WORDS.items()))
    return root


def test_published_tree(root: Path) -> None:
    for path in (root, root.parent):
        data = open_data(f"tiny-imagenet:{path}")
        assert data.classes == ("goldfish", "crane (n02)", "crane (n03)")
        assert (data.channels, data.size, data.augment, data.val) == (3, 64, "crop8", None)
        assert data.mean == (0.485, 0.456, 0.406)
        assert data.train.images.shape == (12, 3, 64, 64)
        assert data.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert data.test.labels.tolist() == [1, 0, 2, 1]
        for split in (data.train, data.test):
            expected = np.array([40, 120, 200])[split.labels]
            assert np.abs(split.images.mean((1, 2, 3)) - expected).max() <= 2


def test_other_size_and_splits(root: Path) -> None:
    data = open_data(f"tiny-imagenet:{root}", image_size=32, val_fraction=0.25)
    assert data.train.images.shape == (9, 3, 32, 32)
    assert np.bincount(data.val.labels).tolist() == [1, 1, 1]
    assert (data.size, data.augment) == (32, "crop4")


def test_fingerprint_sees_the_annotations(root: Path) -> None:
    before = open_data(f"tiny-imagenet:{root}")
    file = root / "val" / "val_annotations.txt"
    file.write_text(file.read_text().replace("val_1.JPEG\tn01", "val_1.JPEG\tn03"))
    after = open_data(f"tiny-imagenet:{root}")
    assert after.test.labels.tolist() == [1, 2, 2, 1]
    assert after.fingerprint != before.fingerprint


def remove(name: str):
    def change(root: Path) -> None:
        (root / name).rename(root / "away")

    return change


def write(name: str, content: bytes):
    def change(root: Path) -> None:
        (root / name).write_bytes(content)

    return change


ANNOTATIONS = "val/val_annotations.txt"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("wnids.txt"), "has no wnids.txt; give the folder tiny-imagenet-200"),
        (remove("words.txt"), "words.txt cannot be read"),
        (remove(ANNOTATIONS), "val_annotations.txt cannot be read"),
        (remove("train/n02"), "train/n02/images does not exist, but wnids.txt lists n02"),
        (remove("val/images/val_2.JPEG"), "val_2.JPEG does not exist"),
        (write("wnids.txt", b"\xff\xfe\x00\xd8"), "wnids.txt is no text file"),
        (write("wnids.txt", b"\n"), "wnids.txt lists no class"),
        (write("wnids.txt", b"n01\nn02\n"), "line 3: 'n03' is not in wnids.txt"),
        (write("wnids.txt", b"n01\nn02\nn03\n../n04\n"), "lists '../n04', which is no WordNet id"),
        (write(ANNOTATIONS, b""), "val_annotations.txt is empty"),
        (write(ANNOTATIONS, b"val_0.JPEG\n"), "line 1: '' is not in wnids.txt"),
        (write(ANNOTATIONS, b"../../wnids.txt\tn01\t0\n"), "line 1: '../../wnids.txt' is no file name"),
        (write("train/n01/images/n01_1.JPEG", b"\xff\xd8\xff"), "n01_1.JPEG is broken or no image"),
        (write("val/images/val_0.JPEG", b""), "val_0.JPEG is broken or no image"),
    ],
)
def test_bad_trees(root: Path, change, message: str) -> None:
    change(root)
    with pytest.raises(StkdError, match=message) as caught:
        open_data(f"tiny-imagenet:{root}")
    assert "\n" not in str(caught.value)


def test_class_without_images(root: Path) -> None:
    for file in (root / "train" / "n02" / "images").iterdir():
        file.unlink()
    with pytest.raises(StkdError, match="n02/images has no images"):
        open_data(f"tiny-imagenet:{root}")


def test_words_may_lack_a_class(root: Path) -> None:
    (root / "words.txt").write_text("n01\tgoldfish\n")
    assert open_data(f"tiny-imagenet:{root}").classes == ("goldfish", "n02", "n03")
