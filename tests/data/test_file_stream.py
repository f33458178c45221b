"""Streams of decoded files: workers that outlive an epoch, and crops of images decoded in part."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stkd.core.errors import StkdError
from stkd.data import ImageFiles, Split
from stkd.data.augment import resized_boxes
from stkd.data.broken_files import readable
from stkd.data.decode import decode, open_image, resized_crop
from stkd.data.file_stream import FileStream, centred
from stkd.data.plan import plan_epoch
from stkd.mixing import Mix

BATCH, STEPS = 3, 2
LABELS = np.array([0, 1, 0, 1, 0, 1, 0])


@pytest.fixture
def files(tmp_path: Path) -> ImageFiles:
    """Seven JPEGs of several sizes, two of them much larger than what is wanted."""
    rng = np.random.default_rng(0)
    sizes = [(40, 30), (30, 40), (33, 33), (16, 16), (50, 20), (300, 260), (170, 210)]
    for i, size in enumerate(sizes):
        small = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(tmp_path / f"{i}.jpg", quality=95)
    return ImageFiles(tmp_path, tuple(f"{i}.jpg" for i in range(len(sizes))), 3, 16)


def stream(files: ImageFiles, workers: int, augmentation: str = "resized") -> FileStream:
    plan = partial(plan_epoch, len(files), BATCH, Mix("none", 1), seed=3)
    return FileStream(files, LABELS, augmentation, plan, steps=STEPS, workers=workers, pin=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 2])
def test_any_order_gives_the_same_batches(files: ImageFiles, workers: int) -> None:
    keys = [(e, s) for e in range(3) for s in range(STEPS)]
    forward = stream(files, 0)
    expected = {key: forward.take(*key) for key in keys}
    jumping = stream(files, workers)
    for key in [*keys, (0, 1), (2, 0), (2, 1), (0, 0), (0, 0)]:
        assert torch.equal(jumping.take(*key), expected[key]), key
    assert not torch.equal(expected[0, 0], expected[1, 0])


def test_workers_stay_over_epochs(files: ImageFiles) -> None:
    batches = stream(files, 1)
    batches.take(0, 0)
    running: Iterator[torch.Tensor] = batches._batches
    for key in [(0, 1), (1, 0), (1, 1), (2, 0)]:
        batches.take(*key)
        assert batches._batches is running


@pytest.mark.slow
def test_workers_that_are_started_anew(files: ImageFiles) -> None:
    """As on macOS and Windows, where no process can be a copy of this one."""
    expected, before = stream(files, 0), multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        batches, chunks = stream(files, 1), [range(3), range(3, 7)]
        for key in [(0, 0), (0, 1), (1, 0)]:
            assert torch.equal(batches.take(*key), expected.take(*key))
        shown = [list(centred(files, chunks, workers=workers, pin=False)) for workers in (1, 0)]
    finally:
        multiprocessing.set_start_method(before, force=True)
    for (images, positions), (own, own_positions) in zip(*shown, strict=True):
        assert torch.equal(images, own)
        assert torch.equal(positions, own_positions)


def test_crops_are_those_of_the_full_images(files: ImageFiles) -> None:
    plan = plan_epoch(len(files), len(files), Mix("none", 1), seed=1, epoch=0)
    whole = FileStream(files, LABELS, "resized", lambda epoch: plan, steps=1, workers=0, pin=False)
    reduced = 0
    for image, i, crop, mirror in zip(whole.take(0, 0), plan[0].index, plan[0].crop, plan[0].flip, strict=True):
        pixels = decode(files.root / files.names[int(i)], 3)
        box = resized_boxes(crop[None], *pixels.shape[1:])[0].round().int().tolist()
        expected = resized_crop(pixels, *box, 16)
        expected = expected.flip(2) if mirror else expected
        error = (image.permute(2, 0, 1).double() - expected.double()).abs()
        if min(box[2:]) < 64:
            assert error.max() == 0
        else:
            reduced += 1
            # each edge of a box is rounded to reduced pixels: by a quarter of a pixel of the crop at most
            shifted = expected.double().diff(dim=1).abs().mean() + expected.double().diff(dim=2).abs().mean()
            assert error.mean() < shifted / 4 + 1
    assert reduced == 2


def test_broken_file_is_one_line_and_leaves_the_stream_usable(files: ImageFiles) -> None:
    good = (files.root / "6.jpg").read_bytes()
    plan = partial(plan_epoch, len(files), 7, Mix("none", 1), seed=0)
    batches = FileStream(files, LABELS, "none", plan, steps=1, workers=1, pin=False)
    (files.root / "6.jpg").write_bytes(good[:200])
    with pytest.raises(StkdError, match=r"6\.jpg is broken or no image") as caught:
        batches.take(0, 0)
    assert "\n" not in str(caught.value)
    (files.root / "6.jpg").write_bytes(good)
    assert batches.take(0, 0).shape == (7, 16, 16, 3)


def test_centred_chunks_are_in_order(files: ImageFiles) -> None:
    pairs = list(centred(files, [range(4), range(4, 7)], workers=2, pin=False))
    chunks = [images for images, _ in pairs]
    assert [positions.tolist() for _, positions in pairs] == [[0, 1, 2, 3], [4, 5, 6]]
    assert [c.shape for c in chunks] == [(4, 16, 16, 3), (3, 16, 16, 3)]
    full = open_image(files.root / "3.jpg").pixels(3)
    assert torch.equal(chunks[0][3], full.permute(1, 2, 0))


def test_next_image_of_the_class_stands_in_for_a_broken_one(
    files: ImageFiles, caplog: pytest.LogCaptureFixture
) -> None:
    plan = partial(plan_epoch, len(files), 7, Mix("none", 1), seed=0)

    def shown(skip_bad: bool, workers: int) -> dict[int, torch.Tensor]:
        some = replace(files, skip_bad=skip_bad)
        batches = FileStream(some, LABELS, "none", plan, steps=1, workers=workers, pin=False)
        images = [image for epoch in range(2) for image in batches.take(epoch, 0)]
        places = [int(place) for epoch in range(2) for place in plan(epoch=epoch)[0].index]
        return dict(zip(places, images, strict=True))

    good = shown(False, 0)
    for name in ("6.jpg", "0.jpg"):
        (files.root / name).write_bytes(b"x")
    for workers in (0, 1):
        found = shown(True, workers)
        for place in range(7):
            assert torch.equal(found[place], good[{6: 2, 0: 2}.get(place, place)])
    assert [record.getMessage().count("next image of its class") for record in caplog.records] == [1, 1]
    for name in ("2.jpg", "4.jpg"):
        (files.root / name).write_bytes(b"x")
    with pytest.raises(StkdError, match=r"no file of a class can be decoded, such as [024]"):
        shown(True, 0)


def test_evaluation_leaves_broken_files_out(files: ImageFiles) -> None:
    (files.root / "1.jpg").write_bytes(b"x")
    split = Split(replace(files, skip_bad=True), LABELS)
    pairs = list(centred(split.images, [range(2), range(2, 7)], workers=0, pin=False))
    assert [positions.tolist() for _, positions in pairs] == [[0], [2, 3, 4, 5, 6]]
    left = readable(split)
    assert left.images.names == tuple(f"{i}.jpg" for i in (0, 2, 3, 4, 5, 6))
    assert left.labels.tolist() == [0, 0, 1, 0, 1, 0]
    with pytest.raises(StkdError, match=r"1\.jpg is broken"):
        list(centred(files, [range(7)], workers=0, pin=False))
    assert readable(Split(files, LABELS)).images is files
    for name in files.names:
        (files.root / name).write_bytes(b"x")
    with pytest.raises(StkdError, match=r"none of 7 images of .* can be used: 0\.jpg is broken .*; replace the files"):
        readable(split)
