"""Reduced decoding, and the fast decoder against Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from stkd.core.errors import StkdError
from stkd.data import decode as decode_module
from stkd.data.decode import decode, decode_square, open_image, resize_square


@pytest.fixture(params=["pillow", "simplejpeg"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both decoders in turn."""
    if request.param == "pillow":
        monkeypatch.setattr(decode_module, "simplejpeg", None)
    else:
        pytest.importorskip("simplejpeg")
    return str(request.param)


def photo(width: int, height: int, grain: int = 8) -> Image.Image:
    """Soft patches of random colours with a little grain."""
    rng = np.random.default_rng(width)
    small = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((smooth + rng.integers(-grain, grain + 1, smooth.shape)).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30}], ids=str)
@pytest.mark.parametrize("reduction", [1, 2.5, 4, 100])
def test_both_decoders_give_the_same_pixels(
    tmp_path: Path, options: dict[str, int], reduction: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("simplejpeg")
    photo(203, 150).save(path := tmp_path / "a.jpg", **options)
    fast = open_image(path)
    assert fast.jpeg is not None
    pixels = fast.pixels(3, reduction)
    monkeypatch.setattr(decode_module, "simplejpeg", None)
    plain = open_image(path)
    assert plain.jpeg is None
    assert (fast.height, fast.width) == (plain.height, plain.width) == (150, 203)
    assert torch.equal(pixels, plain.pixels(3, reduction))


@pytest.mark.parametrize(("reduction", "factor"), [(0.3, 1), (1.99, 1), (2, 2), (3.9, 2), (4, 4), (8, 8), (1000, 8)])
def test_reduction_is_a_power_of_two_that_is_not_too_much(
    tmp_path: Path, decoder: str, reduction: float, factor: int
) -> None:
    photo(203, 150).save(path := tmp_path / "a.jpg")
    image = open_image(path).pixels(3, reduction)
    assert image.shape == (3, -(-150 // factor), -(-203 // factor))


def test_evaluation_sees_every_pixel_of_a_large_file(tmp_path: Path, decoder: str) -> None:
    photo(3000, 2000, grain=60).save(path := tmp_path / "a.jpg", quality=90)
    with Image.open(path) as image:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    for size, crop_pct, interpolation in ((224, 1.0, "bilinear"), (96, 1.0, "bilinear"), (96, 0.875, "bicubic")):
        if crop_pct == 1:
            expected = functional.interpolate(pixels[..., 500:2500], (size, size), mode="bilinear", antialias=True)
        else:
            whole = functional.interpolate(pixels, (109, 163), mode="bicubic", antialias=True)
            expected = whole[..., 6:102, 34:130]
        assert torch.equal(decode_square(path, 3, size, crop_pct, interpolation), expected[0])
        reduced = resize_square(open_image(path).pixels(3, 4), size, crop_pct, interpolation)
        assert not torch.equal(reduced, expected[0])


def test_reduced_image_is_the_full_one_made_smaller(tmp_path: Path, decoder: str) -> None:
    photo(1000, 750).save(path := tmp_path / "a.jpg", quality=90)
    for factor in (2, 4, 8):
        full = resize_square(decode(path, 3), 375 // factor).double()
        reduced = open_image(path).pixels(3, factor)
        error = (resize_square(reduced, 375 // factor).double() - full).abs()
        assert error.mean() < 2.55  # 1 % of the range
        assert error.max() < 20


def test_other_formats_come_in_full(tmp_path: Path, decoder: str) -> None:
    image = photo(100, 80)
    image.save(path := tmp_path / "a.png")
    np.testing.assert_array_equal(open_image(path).pixels(3, 4).permute(1, 2, 0).numpy(), np.asarray(image))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("record", ["exif", "xmp"])
def test_orientation_is_undone(tmp_path: Path, decoder: str, orientation: int, record: str) -> None:
    options: dict[str, object] = {"xmp": b'<x:xmpmeta tiff:Orientation="%d"/>' % orientation}
    if record == "exif":
        options = {"exif": (exif := Image.Exif())}
        exif[0x0112] = orientation
    stored = photo(64, 48)
    stored.save(path := tmp_path / "a.jpg", quality=95, **options)
    image = open_image(path)
    turned = orientation >= 5
    assert (image.height, image.width) == ((64, 48) if turned else (48, 64))
    found = image.pixels(3)
    assert found.shape == (3, image.height, image.width)
    corner = torch.tensor([int(v) for v in np.asarray(stored)[:8, :8].mean((0, 1))])
    y, x = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    block = found[:, -8:] if y else found[:, :8]
    block = block[:, :, -8:] if x else block[:, :, :8]
    torch.testing.assert_close(block.float().mean((1, 2)), corner.float(), atol=4, rtol=0)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk(tmp_path: Path, decoder: str, mode: str) -> None:
    image = photo(64, 48).convert(mode)
    image.save(path := tmp_path / "a.jpg")
    with Image.open(path) as again:
        expected = np.asarray(again.convert("RGB"))
    np.testing.assert_array_equal(open_image(path).pixels(3).permute(1, 2, 0).numpy(), expected)
    assert open_image(path).pixels(1).shape == (1, 48, 64)


@pytest.mark.parametrize("kept", [3, 100, 2000])
def test_truncated_file_is_one_line(tmp_path: Path, decoder: str, kept: int) -> None:
    photo(200, 150).save(path := tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(StkdError, match=r"a\.jpg is broken or no image") as caught:
        open_image(path).pixels(3)
    assert "\n" not in str(caught.value)
    assert "0x" not in str(caught.value)


def test_pixel_limit_is_kept(tmp_path: Path, decoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(100, 100).save(path := tmp_path / "bomb.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(StkdError, match=r"bomb\.jpg has too many pixels"):
        open_image(path)


@pytest.mark.parametrize("fill", [0, 1, 5])
def test_fill_bytes_before_the_exif_record_do_not_hide_it(tmp_path: Path, decoder: str, fill: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(64, 48).save(path := tmp_path / "a.jpg", exif=exif)
    content = path.read_bytes()
    app1 = content.index(b"\xff\xe1")
    path.write_bytes(content[:app1] + b"\xff" * fill + content[app1:])
    image = open_image(path)
    assert (image.height, image.width) == (64, 48)
    assert image.pixels(3).shape == (3, 64, 48)
