from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stkd.core.errors import StkdError
from stkd.data import DataSet, ImageFiles, Split, open_data
from stkd.data.loader import Batch, TrainLoader, eval_batches
from stkd.mixing import Mix

CPU = torch.device("cpu")


@pytest.fixture
def memory() -> DataSet:
    """30 images of 12 x 12 whose label is also in their pixels, on nothing but memory."""
    labels = np.arange(30) % 3
    pixels = np.random.default_rng(0).integers(0, 60, (30, 3, 12, 12)) + 80 * labels[:, None, None, None]
    split = Split(pixels.astype(np.uint8), labels.astype(np.int64))
    return DataSet("test", ("a", "b", "c"), 3, 12, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "crop4", split, None, split, "x")


@pytest.fixture
def streamed(memory: DataSet, tmp_path: Path) -> DataSet:
    """The same images as files."""
    pixels = np.asarray(memory.train.images)
    names = tuple(f"{i}.png" for i in range(len(pixels)))
    for name, image in zip(names, pixels, strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / name)
    split = Split(ImageFiles(tmp_path, names, 3, 12), memory.train.labels)
    return dataclasses.replace(memory, train=split, test=split)


def loader(data: DataSet, **options: Any) -> TrainLoader:
    given = {"batch_size": 8, "mix": Mix(), "augmentation": data.augment, "seed": 5, "device": CPU, **options}
    return TrainLoader(data, **given)


def assert_equal(a: Batch, b: Batch) -> None:
    for name in ("images", "targets", "labels", "index"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert torch.equal(a.parts.lam, b.parts.lam)


def test_batch_is_normalised_and_labelled(memory: DataSet) -> None:
    batch = next(iter(loader(memory, mix=Mix("none", 1), augmentation="none").epoch(0)))
    pixels = torch.from_numpy(np.asarray(memory.train.images)[batch.index.numpy()]).double() / 255
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (memory.mean, memory.std))
    torch.testing.assert_close(batch.images.double(), (pixels - mean) / std, atol=1e-5, rtol=0)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch.labels, torch.from_numpy(memory.train.labels)[batch.index])
    assert torch.equal(batch.targets, torch.eye(3)[batch.labels])


@pytest.mark.parametrize("source", ["memory", "streamed"])
@pytest.mark.parametrize(
    "mix", [Mix(), Mix("cutmix", 3, per_sample=True), Mix(beside=True)], ids=["two", "cut", "both"]
)
def test_started_in_the_middle(source: str, mix: Mix, request: pytest.FixtureRequest) -> None:
    batches = loader(request.getfixturevalue(source), mix=mix)
    whole = list(batches.epoch(7))
    assert len(whole) == batches.steps == 4
    for a, b in zip(whole[1:], batches.epoch(7, start=1), strict=True):
        assert_equal(a, b)
    assert list(batches.epoch(7, start=4)) == []


@pytest.mark.parametrize("source", ["memory", "streamed"])
def test_mixed_otherwise_it_is_the_loader_of_that_mix(source: str, request: pytest.FixtureRequest) -> None:
    data = request.getfixturevalue(source)
    mixed, real = loader(data), loader(data, mix=Mix("none", 1))
    for a, b in zip(mixed.with_mix(Mix("none", 1)).epoch(2), real.epoch(2), strict=True):
        assert_equal(a, b)
    for a, b in zip(mixed.epoch(2), loader(data).epoch(2), strict=True):
        assert_equal(a, b)


@pytest.mark.parametrize("augmentation", ["none", "crop4"])
def test_memory_and_files_give_the_same_batches(memory: DataSet, streamed: DataSet, augmentation: str) -> None:
    a, b = (loader(data, augmentation=augmentation).epoch(2) for data in (memory, streamed))
    for of_memory, of_files in zip(a, b, strict=True):
        assert_equal(of_memory, of_files)


def test_memory_and_files_agree_about_resized_crops(memory: DataSet, streamed: DataSet) -> None:
    """Other interpolation, hence other pixels, but of the same images, with the same labels and partners."""
    options = {"mix": Mix("none", 1), "augmentation": "resized"}
    a, b = (loader(data, **options).epoch(2) for data in (memory, streamed))
    for of_memory, of_files in zip(a, b, strict=True):
        assert torch.equal(of_memory.index, of_files.index)
        assert torch.equal(of_memory.targets, of_files.targets)
        similar = torch.corrcoef(torch.stack([of_memory.images.flatten(), of_files.images.flatten()]))[0, 1]
        assert similar > 0.9


@pytest.mark.parametrize("augmentation", ["crop4", "resized"])
def test_number_of_workers_makes_no_difference(streamed: DataSet, augmentation: str) -> None:
    a, b = (loader(streamed, augmentation=augmentation, workers=n).epoch(1) for n in (0, 2))
    for alone, helped in zip(a, b, strict=True):
        assert_equal(alone, helped)


@pytest.mark.parametrize("source", ["memory", "streamed"])
@pytest.mark.parametrize("mix", [Mix(), Mix("cutmix", 3, per_sample=True), Mix(real=0.5), Mix("none", 1)])
def test_two_processes_make_up_one_batch(request: pytest.FixtureRequest, source: str, mix: Mix) -> None:
    data = request.getfixturevalue(source)
    whole = loader(data, mix=mix).epoch(3)
    ranks = [loader(data, mix=mix, rank=rank, world=2).epoch(3) for rank in (0, 1)]
    for batch, *parts in zip(whole, *ranks, strict=True):
        for rank, part in enumerate(parts):
            torch.testing.assert_close(part.images, batch.images[rank::2])
            assert torch.equal(part.targets, batch.targets)
            assert torch.equal(part.index, batch.index)
            assert torch.equal(part.parts.index, batch.parts.index)
            assert part.real == batch.real


def test_each_process_decodes_what_its_rows_are_made_of(streamed: DataSet) -> None:
    real, mixed = (loader(streamed, mix=mix, rank=1, world=4) for mix in (Mix("none", 1), Mix()))
    assert len(real._files.take(0, 0)) == 2
    assert len(mixed._files.take(0, 0)) <= 4
    whole = mixed.whole()
    assert len(whole._files.take(0, 0)) == 8
    for batch, other in zip(whole.epoch(0), loader(streamed).epoch(0), strict=True):
        assert_equal(batch, other)
    of_real = next(mixed.with_mix(Mix("none", 1)).epoch(0))
    torch.testing.assert_close(of_real.images, next(loader(streamed, mix=Mix("none", 1)).epoch(0)).images[1::4])


def test_order_does_not_depend_on_global_random_state(memory: DataSet) -> None:
    torch.manual_seed(0)
    first = list(loader(memory).epoch(0))
    torch.manual_seed(1)
    for a, b in zip(first, loader(memory).epoch(0), strict=True):
        assert_equal(a, b)
    assert not torch.equal(first[0].index, next(iter(loader(memory).epoch(1))).index)
    assert not torch.equal(first[0].index, next(iter(loader(memory, seed=6).epoch(0))).index)


def test_set_smaller_than_a_batch_is_one_batch(memory: DataSet) -> None:
    batches = list(loader(memory, batch_size=64).epoch(0))
    assert [len(b.images) for b in batches] == [30]
    assert torch.equal(batches[0].index.sort().values, torch.arange(30))


def test_evaluation_sees_every_image_once_in_order(memory: DataSet, streamed: DataSet) -> None:
    assert memory.test is not None
    assert streamed.test is not None
    a = list(eval_batches(memory.test, memory, batch_size=8, device=CPU))
    b = list(eval_batches(streamed.test, streamed, batch_size=8, device=CPU, workers=2))
    assert [len(labels) for _, labels in a] == [8, 8, 8, 6]
    assert torch.equal(torch.cat([labels for _, labels in a]), torch.from_numpy(memory.test.labels))
    for (images, labels), (of_files, labels_of_files) in zip(a, b, strict=True):
        assert torch.equal(images, of_files)
        assert torch.equal(labels, labels_of_files)


@pytest.mark.parametrize("workers", [0, 2])
def test_broken_file_is_one_line(streamed: DataSet, tmp_path: Path, workers: int) -> None:
    (tmp_path / "17.png").write_bytes(b"no image")
    batches = loader(streamed, batch_size=30, workers=workers)
    with pytest.raises(StkdError) as caught:
        next(iter(batches.epoch(0)))
    assert "17.png is broken or no image" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_digits_fit_together() -> None:
    data = open_data("digits")
    batch = next(iter(loader(data, batch_size=32).epoch(0)))
    assert batch.images.shape == (32, 1, 8, 8)
    assert batch.targets.shape == (32, 10)
