"""Random-resized-crops of a folder are the field's: from the whole picture, on both sides of the limit of storing."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import Tensor
from torchvision.transforms import v2

from stkd.data import DataSet, decoded_cache, image_tree, open_data, pictures
from stkd.data.decode import decode, decode_square
from stkd.data.loader import TrainLoader, eval_batches
from stkd.data.pictures import MULTIPLE, pictures_of
from stkd.mixing import Mix

SIZE, CPU = 72, torch.device("cpu")


def synthetic(seed: int, height: int = 700, width: int = 900) -> Image.Image:
    """Patches of every scale, the smaller the fainter, as in photos."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3))
    for octave in range(1, 9):
        patches = rng.integers(0, 256, (3 * 2**octave, 4 * 2**octave, 3), dtype=np.uint8)
        large = Image.fromarray(patches).resize((width, height), Image.Resampling.BICUBIC)
        pixels += (np.asarray(large).astype(float) - 128) / (octave + 1)
    scaled = (pixels - pixels.min()) / np.ptp(pixels) * 255
    return Image.fromarray(scaled.astype(np.uint8))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two real photos and two synthetic ones, in two classes, as training and test split."""
    root = tmp_path_factory.mktemp("photos")
    images = {
        "a/china": Image.fromarray(load_sample_image("china.jpg")),
        "a/synthetic": synthetic(0),
        "b/flower": Image.fromarray(load_sample_image("flower.jpg")),
        "b/upright": synthetic(1, 900, 700),
    }
    for split in ("train", "test"):
        for name, image in images.items():
            (root / split / name).parent.mkdir(parents=True, exist_ok=True)
            image.save(root / split / f"{name}.png", compress_level=1)
    return root


def mean_gradient(images: Tensor) -> float:
    """Mean absolute difference of neighbouring pixels, 0..255."""
    images = images.float()
    return float(images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean()) / 2


def crops(data: DataSet, epochs: range, workers: int = 0) -> dict[int, Tensor]:
    """Training images of some epochs by their place in the set, 0..255."""
    plain = dataclasses.replace(data, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    options = {"augmentation": data.augment, "seed": 0, "device": CPU, "mix": Mix("none", 1), "workers": workers}
    loader = TrainLoader(plain, batch_size=4, **options)
    batches = [batch for epoch in epochs for batch in loader.epoch(epoch)]
    images, index = torch.cat([b.images for b in batches]), torch.cat([b.index for b in batches])
    return {place: images[index == place] for place in range(len(data.train))}


def test_detail_is_that_of_torchvision(photos: Path) -> None:
    data = open_data(f"folder:{photos}", image_size=SIZE)
    assert data.augment == "resized"
    assert data.train.files is not None
    own = crops(data, range(300))
    theirs = v2.RandomResizedCrop(SIZE, antialias=True)
    for place, name in enumerate(data.train.files.names):
        pixels = decode(photos / name, 3)
        torch.manual_seed(place)
        expected = np.mean([mean_gradient(theirs(pixels)) for _ in range(300)])
        assert mean_gradient(own[place]) == pytest.approx(expected, rel=0.05), name


def test_both_sides_of_the_limit_show_the_same_crops(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = crops(open_data(f"folder:{photos}", image_size=SIZE), range(6))
    monkeypatch.setattr(image_tree, "STORE_LIMIT", 1)
    streamed = crops(open_data(f"folder:{photos}", image_size=SIZE), range(6))
    for place in kept:
        assert (kept[place] - streamed[place]).abs().mean() < 6
        assert mean_gradient(kept[place]) == pytest.approx(mean_gradient(streamed[place]), rel=0.05)
        assert not torch.equal(kept[place][0], kept[place][1])


def test_evaluation_sees_the_squares_of_the_files(photos: Path) -> None:
    data = open_data(f"folder:{photos}", image_size=SIZE)
    plain = dataclasses.replace(data, mean=(0.0,) * 3, std=(1 / 255,) * 3)
    assert data.test is not None
    assert data.test.files is not None
    images, _ = next(eval_batches(data.test, plain, batch_size=4, device=CPU))
    for image, name in zip(images, data.test.files.names, strict=True):
        torch.testing.assert_close(image, decode_square(photos / name, 3, SIZE).float(), atol=1e-3, rtol=0)


def test_pictures_are_reduced_once_and_never_enlarged(
    tmp_path: Path, save_image, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    large, small = save_image(tmp_path / "large.png", (900, 450)), save_image(tmp_path / "small.png", (90, 80))
    files = image_tree.ImageFiles(tmp_path, (large.name, small.name), 3, SIZE)
    kept = pictures_of(files)
    assert kept is not None
    shorter = round(MULTIPLE * SIZE)
    assert (kept[0].height, kept[0].width) == (shorter, 2 * shorter)
    assert torch.equal(kept[1].pixels(3), decode(small, 3))
    monkeypatch.setattr(pictures, "_decoded", lambda *_: pytest.fail("decoded again"))
    again = pictures_of(files)
    assert again is not None
    assert torch.equal(again[0].pixels(3), kept[0].pixels(3))


def test_crops_come_from_the_files_where_the_cache_has_no_room(
    photos: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    data = open_data(f"folder:{photos}", image_size=SIZE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(decoded_cache, "atomic_file", full)
    shown = crops(data, range(1))
    assert "No space left on device" in caplog.text
    assert all(len(images) == 1 for images in shown.values())


@pytest.fixture
def small(tmp_path: Path, save_image: Any) -> image_tree.ImageFiles:
    names = tuple(save_image(tmp_path / f"{i}.png", (40 + i, 50)).name for i in range(3))
    return image_tree.ImageFiles(tmp_path, names, 3, SIZE)


def shown(files: image_tree.ImageFiles) -> list[Tensor]:
    kept = pictures_of(files)
    assert kept is not None
    pixels = [kept[i].pixels(3).clone() for i in range(len(files))]
    kept.tell()
    kept.tell()
    return pixels


@pytest.mark.parametrize(
    "seeds", [range(10), pytest.param(range(10, 200), marks=pytest.mark.slow)], ids=["some", "many"]
)
def test_a_picture_with_a_flipped_bit_is_decoded_again(
    seeds: range, small: image_tree.ImageFiles, flipped: Any, caplog: pytest.LogCaptureFixture
) -> None:
    right = shown(small)
    kept = pictures_of(small)
    assert kept is not None
    file = kept.kept.file
    whole = file.read_bytes()
    for seed in seeds:
        caplog.clear()
        with flipped(file, seed):
            assert all(map(torch.equal, shown(small), right))
            assert caplog.messages == [f"{file} is damaged; its damaged pictures are decoded anew as they are used"]
            assert file.read_bytes() == whole, "it is mended"
    caplog.clear()
    assert all(map(torch.equal, shown(small), right))
    assert caplog.messages == []


def test_a_picture_is_checked_once(small: image_tree.ImageFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = pictures_of(small)
    assert kept is not None
    first = kept[1].pixels(3).clone()
    monkeypatch.setattr(pictures, "digest", lambda _: pytest.fail("looked at again"))
    assert torch.equal(kept[1].pixels(3), first)


def test_damage_is_no_hindrance_where_the_cache_cannot_be_written(
    small: image_tree.ImageFiles, monkeypatch: pytest.MonkeyPatch, flipped: Any
) -> None:
    right = shown(small)
    kept = pictures_of(small)
    assert kept is not None

    opened = Path.open

    def refused(self: Path, mode: str = "r", **options: Any) -> Any:
        if mode == "r+b":
            raise OSError(30, "Read-only file system")
        return opened(self, mode, **options)

    with flipped(kept.kept.file, 5):
        damaged = kept.kept.file.read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", refused)
            assert all(map(torch.equal, shown(small), right))
        assert kept.kept.file.read_bytes() == damaged


def test_workers_of_a_loader_mend_pictures(photos: Path, flipped: Any, caplog: pytest.LogCaptureFixture) -> None:
    data = open_data(f"folder:{photos}", image_size=SIZE)
    assert data.train.decoded is not None
    kept = pictures_of(data.train.decoded)
    assert kept is not None
    right, whole = crops(data, range(2)), kept.kept.file.read_bytes()
    with flipped(kept.kept.file, 1):
        found = crops(data, range(2), workers=2)
        assert all(torch.equal(found[place], right[place]) for place in right)
        assert kept.kept.file.read_bytes() == whole
    assert len([line for line in caplog.messages if "its damaged pictures are decoded anew" in line]) == 1
