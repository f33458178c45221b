from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stkd.core.errors import StkdError
from stkd.data import open_data

CLASSES = ("airplane", "bird", "cat")


def fill(root: Path, save_image, parts: dict[str, int]) -> Path:
    for part, count in parts.items():
        for label, name in enumerate(CLASSES):
            for k in range(count):
                save_image(root / part / name / f"cifar10-{part}-{k}.png", size=(32, 32), colour=(label, k, len(part)))
    return root


def test_published_tree(tmp_path: Path, save_image) -> None:
    root = fill(tmp_path / "CINIC-10", save_image, {"train": 4, "valid": 3, "test": 2})
    for path in (root, tmp_path):
        data = open_data(f"cinic10:{path}")
        assert data.classes == CLASSES
        assert (data.name, data.size, data.augment) == ("cinic10", 32, "crop4")
        assert [len(s) for s in (data.train, data.val, data.test)] == [12, 9, 6]
        for split, length in ((data.train, 5), (data.val, 5), (data.test, 4)):
            np.testing.assert_array_equal(split.images[:, 0, 0, 0], split.labels)
            assert (split.images[:, 2] == length).all()


def test_train_and_valid(tmp_path: Path, save_image) -> None:
    data = open_data(f"cinic10:{fill(tmp_path, save_image, {'train': 4, 'valid': 3})}")
    assert (len(data.train), data.val, len(data.test)) == (12, None, 9)


@pytest.mark.parametrize("part", ["train", "valid", "test"])
def test_a_sample_in_one_split_is_split(tmp_path: Path, save_image, part: str) -> None:
    fill(tmp_path, save_image, {part: 10})
    data = open_data(f"cinic10:{tmp_path}", split_seed=1)
    assert np.bincount(data.train.labels).tolist() == [8, 8, 8]
    assert np.bincount(data.test.labels).tolist() == [2, 2, 2]
    pixels = [tuple(image[:2, 0, 0].tolist()) for s in (data.train, data.test) for image in s.images]
    assert sorted(pixels) == [(label, k) for label in range(3) for k in range(10)]


def test_bad_trees(tmp_path: Path, save_image) -> None:
    with pytest.raises(StkdError, match="has no train, valid or test folder; give the folder of the unpacked set"):
        open_data(f"cinic10:{tmp_path}")
    fill(tmp_path, save_image, {"valid": 2, "test": 2})
    with pytest.raises(StkdError, match="has valid and test but no train; unpack the published archive again"):
        open_data(f"cinic10:{tmp_path}")
    (tmp_path / "train").mkdir()
    with pytest.raises(StkdError, match="train has no images"):
        open_data(f"cinic10:{tmp_path}")
    with pytest.raises(StkdError, match="cinic10 has no coarse labels"):
        open_data(f"cinic10:{tmp_path}", labels="coarse")
