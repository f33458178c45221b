from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stkd.data.augment import resized_boxes, resized_crop, shifted
from stkd.data.base import Augment

WHOLE = (1 - 1e-7, 0.5, 0.0, 0.0)
"""The box of all the image: full area, ratio 1."""


def pixels(*shape: int) -> torch.Tensor:
    return torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def augment(images: torch.Tensor, kind: Augment, crop: torch.Tensor, flip: torch.Tensor) -> torch.Tensor:
    """All of a batch (B, C, H, W), whatever the kind."""
    if kind == "resized":
        return resized_crop(images, crop, flip)
    found = shifted(images.permute(0, 2, 3, 1).contiguous(), torch.arange(len(images)), kind, crop, flip)
    return found.permute(0, 3, 1, 2).float()


@pytest.mark.parametrize(("kind", "pad"), [("crop4", 4), ("crop8", 8)])
def test_crop_is_pad_crop_flip_image_by_image(kind: Literal["crop4", "crop8"], pad: int) -> None:
    images = pixels(40, 3, 12, 10)
    generator = torch.Generator().manual_seed(1)
    crop, flip = torch.rand(40, 4, generator=generator), torch.rand(40, generator=generator) < 0.5
    found = augment(images, kind, crop, flip)
    seen = set()
    for i in range(40):
        padded = torch.zeros(3, 12 + 2 * pad, 10 + 2 * pad)
        padded[:, pad : pad + 12, pad : pad + 10] = images[i]
        top, left = (int(float(c) * (2 * pad + 1)) for c in crop[i, :2])
        image = padded[:, top : top + 12, left : left + 10]
        assert torch.equal(found[i], image.flip(2) if flip[i] else image)
        seen.add((top, left))
    assert len(seen) > 25


def test_crop_reaches_every_shift() -> None:
    crop = torch.zeros(9, 4)
    crop[:, 0] = torch.linspace(0, 0.9999999, 9)
    image = pixels(1, 1, 8, 8).expand(9, -1, -1, -1)
    found = augment(image, "crop4", crop, torch.zeros(9, dtype=torch.bool))
    assert len({tuple(f.flatten().tolist()) for f in found}) == 9
    assert bool((found[0, 0, :4] == 0).all())
    assert bool((found[-1, 0, -4:] == 0).all())


def test_none_only_changes_the_type() -> None:
    images = pixels(3, 1, 8, 8)
    found = augment(images, "none", torch.rand(3, 4), torch.ones(3, dtype=torch.bool))
    assert found.dtype == torch.float32
    assert torch.equal(found, images.float())


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.floats(0, 1, exclude_max=True, width=32), min_size=4, max_size=4),
    st.integers(1, 400),
    st.integers(1, 400),
)
def test_resized_boxes_lie_inside(crop: list[float], height: int, width: int) -> None:
    top, left, box_h, box_w = resized_boxes(torch.tensor([crop]), height, width)[0].tolist()
    slack = 1e-4 * max(height, width)
    assert box_h > 0
    assert box_w > 0
    assert -slack <= top <= top + box_h <= height + slack
    assert -slack <= left <= left + box_w <= width + slack


def test_resized_boxes_have_the_drawn_area_and_ratio() -> None:
    crop = torch.rand(500, 4, generator=torch.Generator().manual_seed(0))
    _, _, box_h, box_w = resized_boxes(crop, 200, 200).unbind(1)
    ratio = box_w / box_h
    assert bool((ratio > 0.7499).all())
    assert bool((ratio < 1.3334).all())
    area = box_h * box_w / 200**2
    fits = (box_h < 199.9) & (box_w < 199.9)
    torch.testing.assert_close(area[fits], 0.08 + 0.92 * crop[fits, 0])
    assert bool((area <= 0.08 + 0.92 * crop[:, 0] + 1e-5).all())
    assert float(fits.float().mean()) > 0.7


def test_whole_box_is_the_identity_and_flip_a_mirror() -> None:
    images = pixels(2, 3, 9, 9)
    crop = torch.tensor([WHOLE, WHOLE])
    found = augment(images, "resized", crop, torch.tensor([False, True]))
    torch.testing.assert_close(found[0], images[0].float(), atol=0.05, rtol=0)
    torch.testing.assert_close(found[1], images[1].float().flip(2), atol=0.05, rtol=0)


def test_resized_crop_shows_its_box() -> None:
    """An image whose pixel values are its coordinates tells where each pixel of the crop comes from."""
    size = 64
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    image = torch.stack([y, x])[None].to(torch.uint8)
    crop = torch.tensor([[0.2, 0.3, 0.6, 0.9]])
    top, left, box_h, box_w = resized_boxes(crop, size, size)[0].tolist()
    for flip in (False, True):
        found = augment(image, "resized", crop, torch.tensor([flip]))[0]
        found = found.flip(2) if flip else found
        step = torch.arange(size) + 0.5
        expected_y = (top + step * box_h / size - 0.5).clamp(0, size - 1)
        expected_x = (left + step * box_w / size - 0.5).clamp(0, size - 1)
        torch.testing.assert_close(found[0, :, size // 2], expected_y, atol=0.02, rtol=0)
        torch.testing.assert_close(found[1, size // 2], expected_x, atol=0.02, rtol=0)


@pytest.mark.parametrize("kind", ["none", "crop4", "crop8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_shifted_takes_images_out_of_a_set(kind: Augment, channels: int) -> None:
    images = pixels(30, channels, 12, 10)
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(30, (50,), generator=generator)
    crop, flip = torch.rand(50, 4, generator=generator), torch.rand(50, generator=generator) < 0.5
    # both ends of the set, shifted into every corner: there is no pixel before and behind them
    crop[:8, :2] = torch.tensor([[y, x] for y in (0, 0.9999999) for x in (0, 0.9999999)] * 2)
    index[:8] = torch.tensor([0, 29]).repeat_interleave(4)
    found = shifted(images.permute(0, 2, 3, 1).contiguous(), index, kind, crop, flip)
    assert found.dtype == torch.uint8
    assert torch.equal(found.permute(0, 3, 1, 2).float(), augment(images[index], kind, crop, flip))
