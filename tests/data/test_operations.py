"""Operations on images: torchvision's, drawn from a key."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from stkd.data import DataSet, ImageFiles, Split
from stkd.data.apply_operations import apply_operations, operated
from stkd.data.augment import shifted
from stkd.data.loader import Batch, TrainLoader
from stkd.data.operations import NOTHING, STRONG, AutoAugment, Drawn, Erasing, Operations, boxes, chosen
from stkd.data.plan import plan_epoch
from stkd.mixing import Mix

NAMES = list(v2.RandAugment._AUGMENTATION_SPACE)
TRANSFORMS: dict[AutoAugment, Any] = {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide}
BOTH = Operations("randaugment", "random")


def draw(operations: Operations, images: int, seed: int = 0) -> Drawn:
    return operations.draw(images, np.random.default_rng(seed))


def pixels(images: int, size: int, channels: int) -> Tensor:
    """Smooth pictures and noise, channels last."""
    g = torch.Generator().manual_seed(size)
    noise = torch.randint(0, 256, (images, size, size, channels), generator=g, dtype=torch.uint8)
    ramp = torch.arange(size)[:, None, None] * torch.arange(1, channels + 1) * 200 // (size * channels)
    noise[::2] = (ramp + torch.arange(size)[:, None] * 50 // size).to(torch.uint8)
    return noise


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (32, 3), (33, 1)])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_are_those_of_torchvision(name: AutoAugment, size: int, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own transform, given our numbers in the place of torch's, gives the same pixels."""
    drawn, images = draw(Operations(name), 96), pixels(96, size, channels)
    found = images.clone()
    apply_operations(found, [drawn], [0] * channels)
    number: dict[str, float] = {}
    coming = iter(())

    def whole(below: int, _: Any) -> int:
        if below == len(NAMES):
            number.update(zip(("which", "strength", "sign"), next(coming), strict=True))
        return int(number["which" if below == len(NAMES) else "strength"] * below)

    monkeypatch.setattr(torch, "randint", whole)
    monkeypatch.setattr(torch, "rand", lambda _: number["sign"])
    transform = TRANSFORMS[name]()
    for i, numbers in enumerate(drawn.choice.tolist()):
        coming = iter(numbers)
        expected = transform(images[i].permute(2, 0, 1))
        assert torch.equal(found[i].permute(2, 0, 1), expected), chosen(drawn, size, size)[i]
    assert not torch.equal(found, images)


@pytest.mark.parametrize("operations", [*map(Operations, TRANSFORMS), STRONG])
@pytest.mark.parametrize(("size", "channels"), [(8, 1), (8, 3), (2, 1), (21, 3)])
def test_keep_shape_and_type(operations: Operations, size: int, channels: int) -> None:
    images = pixels(3, size, channels).permute(0, 3, 1, 2).contiguous()
    drawn = draw(operations, 2000)
    extremes: dict[str, list[float]] = {name: [] for name in NAMES}
    for of_image in chosen(drawn, size, size):
        for name, magnitude in of_image:
            extremes[name].append(magnitude)
    for name, magnitudes in extremes.items():
        for magnitude in (min(magnitudes), max(magnitudes)):
            changed = operated(images, (name, magnitude))
            assert (changed.shape, changed.dtype) == (images.shape, torch.uint8), name


def test_randaugment_draws_all_alike_at_one_magnitude() -> None:
    found = [operation for of_image in chosen(draw(Operations("randaugment"), 7000), 32, 32) for operation in of_image]
    assert len(found) == 14000
    for name in NAMES:
        magnitudes = [magnitude for other, magnitude in found if other == name]
        assert 850 < len(magnitudes) < 1150
        assert len({abs(m) for m in magnitudes}) == 1
        signed = name not in ("Identity", "Posterize", "Solarize", "AutoContrast", "Equalize")
        negative = float(np.mean([m < 0 for m in magnitudes]))
        assert 0.4 < negative < 0.6 if signed else negative == 0
    assert dict(found)["Posterize"] == 7
    assert abs(dict(found)["Rotate"]) == pytest.approx(9)


def test_the_strong_view_is_that_of_its_authors() -> None:
    """Ranges of the two operations, and a square of up to half the side."""
    drawn = draw(STRONG, 4000)
    found: dict[str, list[float]] = {name: [] for name in NAMES}
    for of_image in chosen(drawn, 40, 40):
        assert len(of_image) == 2
        for name, magnitude in of_image:
            found[name].append(magnitude)
    ends = {"Rotate": 30, "ShearX": 0.3, "ShearY": 0.3, "TranslateX": 12, "TranslateY": 12}
    for name, most in ends.items():
        assert -most <= min(found[name]) < -0.97 * most < 0.97 * most < max(found[name]) <= most
    for name in ("Brightness", "Color", "Contrast", "Sharpness"):
        assert 0.05 <= 1 + min(found[name]) < 0.07 < 0.93 < 1 + max(found[name]) <= 0.95 + 1e-6
    bits, counts = np.unique(found["Posterize"], return_counts=True)
    assert bits.tolist() == [4, 5, 6, 7]
    assert counts.min() > 0.8 * counts.max()
    heights = [box[2] for box in boxes(drawn, 40, 40) if box is not None]
    assert (len(heights), min(heights), max(heights)) == (4000, 1, 20)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from(["cutout", "square", "random"]), st.integers(4, 64), st.integers(0, 2**32))
def test_boxes_lie_in_the_image(kind: Erasing, size: int, seed: int) -> None:
    for box in boxes(draw(Operations(erasing=kind), 20, seed), size, size):
        if box is not None:
            top, left, height, width = box
            assert 0 <= top < top + height <= size
            assert 0 <= left < left + width <= size


def test_cutout_is_a_square_of_half_the_side() -> None:
    """Around any pixel, so that it is whole where that is far enough from the border."""
    images = torch.full((3000, 32, 32, 1), 255, dtype=torch.uint8)
    apply_operations(images, [draw(Operations(erasing="cutout"), 3000)], [99])
    erased = (images[..., 0] == 99).flatten(1).sum(1)
    assert (erased.min(), erased.max()) == (64, 256)
    assert float((erased == 256).float().mean()) == pytest.approx((17 / 32) ** 2, abs=0.03)
    assert set(images.unique().tolist()) == {99, 255}


def test_random_erasing_is_as_published() -> None:
    """Half of the images; area and ratio as drawn, up to rounding to pixels."""
    found = boxes(draw(Operations(erasing="random"), 6000), 100, 100)
    erased = np.array([box for box in found if box is not None])
    assert len(erased) == pytest.approx(3000, abs=150)
    area, ratio = erased[:, 2] * erased[:, 3] / 1e4, erased[:, 2] / erased[:, 3]
    assert 0.018 < area.min() < 0.03 < 0.31 < area.max() < 0.34
    assert 0.27 < ratio.min() < 0.35 < 2.9 < ratio.max() < 3.6
    assert float(np.median(ratio)) == pytest.approx(1, abs=0.06)
    assert (erased[:, 0].mean() + erased[:, 2].mean() / 2) == pytest.approx(50, abs=1.5)


# In a plan, and in batches.


def test_nothing_else_is_drawn_otherwise() -> None:
    plain, changed = (plan_epoch(50, 8, Mix(per_sample=True), seed=3, epoch=2, operations=o) for o in (NOTHING, BOTH))
    for a, b in zip(plain, changed, strict=True):
        assert a.drawn == ()
        assert [len(drawn) for drawn in b.drawn] == [8]
        for name in ("index", "crop", "flip"):
            assert torch.equal(getattr(a, name), getattr(b, name))
        assert torch.equal(a.parts.lam, b.parts.lam)
        assert torch.equal(a.parts.index, b.parts.index)


def test_depends_on_seed_epoch_and_step_alone() -> None:
    def numbers(seed: int, epoch: int, step: int, cycle: int | None = None) -> Tensor:
        plan = plan_epoch(50, 8, Mix(), seed=seed, epoch=epoch, cycle=cycle, operations=BOTH)
        return plan[step].drawn[0].choice

    assert torch.equal(numbers(3, 4, 5), numbers(3, 4, 5))
    assert torch.equal(numbers(3, 1, 5), numbers(3, 4, 5, cycle=3))
    for other in ((4, 4, 5), (3, 5, 5), (3, 4, 6)):
        assert not torch.equal(numbers(3, 4, 5), numbers(*other))


def memory(channels: int = 3, size: int = 12) -> DataSet:
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (30, channels, size, size), np.uint8), np.arange(30) % 3)
    statistics = (0.5, 0.4, 0.3)[:channels], (0.2, 0.3, 0.4)[:channels]
    return DataSet("test", ("a", "b", "c"), channels, size, *statistics, "crop4", split, None, split, "x")


@pytest.fixture
def streamed(tmp_path: Path) -> DataSet:
    """The same images as files."""
    data = memory()
    names = tuple(f"{i}.png" for i in range(30))
    for name, image in zip(names, np.asarray(data.train.images), strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / name)
    return dataclasses.replace(data, train=Split(ImageFiles(tmp_path, names, 3, 12), data.train.labels))


def loader(data: DataSet, **options: Any) -> TrainLoader:
    given: dict[str, Any] = {"batch_size": 8, "mix": Mix(), "augmentation": data.augment, "seed": 5, "operations": BOTH}
    return TrainLoader(data, device=torch.device("cpu"), **{**given, **options})


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.images, b.images) and torch.equal(a.targets, b.targets)


@pytest.mark.parametrize("operations", [BOTH, Operations("trivialaugment", "cutout")])
@pytest.mark.parametrize("augmentation", ["none", "crop4"])
def test_files_and_memory_give_the_same_batches(operations: Operations, augmentation: str, streamed: DataSet) -> None:
    options = {"augmentation": augmentation, "operations": operations}
    one, other = (list(loader(data, **options).epoch(2)) for data in (memory(), streamed))
    assert all(map(same, one, other))
    plain = loader(memory(), augmentation=augmentation, operations=NOTHING)
    assert not any(map(same, one, plain.epoch(2)))


@pytest.mark.parametrize("augmentation", ["crop4", "resized"])
def test_number_of_workers_makes_no_difference(augmentation: str, streamed: DataSet) -> None:
    one, other = (list(loader(streamed, augmentation=augmentation, workers=n).epoch(1)) for n in (0, 2))
    assert all(map(same, one, other))


@pytest.mark.parametrize("augmentation", ["none", "crop4", "resized"])
@pytest.mark.parametrize("mix", [Mix(), Mix("cutmix", per_sample=True), Mix(beside=True)], ids=["mix", "cut", "both"])
def test_a_batch_can_be_asked_for_at_any_time(mix: Mix, augmentation: str) -> None:
    """Of a set in memory too, whose batches are made several together; no generator but the keyed ones is used."""
    states = torch.get_rng_state(), np.random.get_state()[1]
    batches = loader(memory(), mix=mix, augmentation=augmentation)
    assert batches.at_once > 1
    whole = list(batches.epoch(7))
    assert all(map(same, whole[1:], batches.epoch(7, start=1)))
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])


@pytest.mark.parametrize("augmentation", ["none", "crop4"])
@pytest.mark.parametrize("channels", [1, 3])
def test_are_the_same_on_a_gpu(channels: int, augmentation: str) -> None:
    """Here as a GPU makes them, on the CPU."""
    fused, plain = (loader(memory(channels), augmentation=augmentation) for _ in range(2))
    fused._fused = True
    for found, expected in zip(fused.epoch(1), plain.epoch(1), strict=True):
        torch.testing.assert_close(found.images, expected.images, atol=2e-5, rtol=0)


def test_two_processes_make_up_one_batch() -> None:
    whole = loader(memory()).epoch(3)
    ranks = [loader(memory(), rank=rank, world=2).epoch(3) for rank in (0, 1)]
    for batch, *parts in zip(whole, *ranks, strict=True):
        for rank, part in enumerate(parts):
            torch.testing.assert_close(part.images, batch.images[rank::2])


def test_erased_pixels_are_the_mean() -> None:
    """Which normalised is zero, to the rounding of a grey level."""
    batch = next(loader(memory(), mix=Mix("none", 1), operations=Operations(erasing="cutout")).epoch(0))
    close = (batch.images.abs() < 0.51 / 255 / 0.2).all(1)
    assert bool((close.flatten(1).sum(1) >= 9).all())


# A strong view beside the usual one.


@pytest.mark.parametrize("mix", [Mix("none", 1, strong=True), Mix(strong=True), Mix("cutmix", 3, strong=True)])
@pytest.mark.parametrize("operations", [NOTHING, BOTH])
def test_a_strong_view_is_the_second_half_of_a_batch(mix: Mix, operations: Operations) -> None:
    """The first half is the batch without it; partners, weights and labels are the same in both."""
    two, one = (loader(memory(), mix=m, operations=operations) for m in (mix, dataclasses.replace(mix, strong=False)))
    for both, usual in zip(two.epoch(1), one.epoch(1), strict=True):
        assert (len(both.images), both.strong, len(usual.images), usual.strong) == (16, 8, 8, 0)
        assert torch.equal(both.images[:8], usual.images)
        assert not torch.equal(both.images[8:], usual.images)
        assert torch.equal(both.targets[:8], usual.targets)
        assert torch.equal(both.index, torch.cat([usual.index, usual.index]))
        if mix.kind != "cutmix":  # where the pixels that a box covers are counted
            assert torch.equal(both.targets[8:], usual.targets)
        assert both.real == (0 if mix.active else 16)


def test_a_strong_view_is_drawn_apart() -> None:
    """Its crop and flip are its own, and its operations are those of `STRONG`."""
    data = memory()
    batch = next(loader(data, mix=Mix("none", 1, strong=True), operations=NOTHING).epoch(0))
    plan = plan_epoch(30, 8, Mix("none", 1, strong=True), seed=5, epoch=0)[0]
    assert plan.drawn[1].operations == STRONG
    assert not plan.drawn[0].operations.active
    assert not torch.equal(plan.crop[:8], plan.crop[8:])
    images = torch.from_numpy(np.asarray(data.train.images)).permute(0, 2, 3, 1).contiguous()
    strong = shifted(images, plan.index[8:], "crop4", plan.crop[8:], plan.flip[8:])
    apply_operations(strong, [plan.drawn[1]], [round(255 * mean) for mean in data.mean])
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    torch.testing.assert_close(batch.images[8:].permute(0, 2, 3, 1), (strong / 255 - mean) / std)


def test_a_strong_view_of_files_and_of_two_processes(streamed: DataSet) -> None:
    options: dict[str, Any] = {"mix": Mix(strong=True), "operations": NOTHING, "batch_size": 7}
    whole = list(loader(memory(), **options).epoch(2))
    assert all(map(same, whole, loader(streamed, workers=2, **options).epoch(2)))
    ranks = [loader(memory(), rank=rank, world=2, **options).epoch(2) for rank in (0, 1)]
    for batch, *parts in zip(whole, *ranks, strict=True):
        assert [(len(part.images), part.strong) for part in parts] == [(7, 7), (7, 7)]
        for rank, part in enumerate(parts):
            torch.testing.assert_close(part.images, batch.images[rank::2])
