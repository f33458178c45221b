from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import create_transform

from stkd.core.errors import StkdError
from stkd.data.decode import decode, decode_square, image_suffixes, pixel_size, resize_square, why_broken

GREY = np.linspace(0, 255, 30).astype(np.uint8).reshape(5, 6)
COLOUR = np.random.default_rng(0).integers(0, 256, (5, 6, 3), dtype=np.uint8)


def chw(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(2, 0, 1)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "ppm", "tga", "webp", "pcx", "sgi"])
def test_colour_is_kept_exactly_in_lossless_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(COLOUR).save(path, **({"lossless": True} if suffix == "webp" else {}))
    image = decode(path, 3)
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
    np.testing.assert_array_equal(image.numpy(), chw(COLOUR))


@pytest.mark.parametrize("suffix", ["jpg", "webp", "gif", "jp2"])
def test_lossy_formats_are_close(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (32, 24), (200, 100, 50)).save(path)
    error = decode(path, 3).numpy().astype(int) - np.array([200, 100, 50])[:, None, None]
    assert abs(error).max() <= 6
    assert pixel_size(path) == (32, 24)


def test_grey_to_colour_and_back(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(path := tmp_path / "grey.png")
    np.testing.assert_array_equal(decode(path, 3).numpy(), np.stack([GREY] * 3))
    np.testing.assert_array_equal(decode(path, 1).numpy(), GREY[None])
    Image.new("RGB", (4, 3), (255, 0, 0)).save(red := tmp_path / "red.png")
    assert decode(red, 1).shape == (1, 3, 4)
    assert decode(red, 1).unique().tolist() == [76]  # ITU-R 601: 0.299 * 255


@pytest.mark.parametrize("suffix", ["png", "tiff", "pgm"])
def test_16_bit_grey_is_scaled(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257, 128 * 257], [65535, 1000, 255]], np.uint16)
    Image.fromarray(values).save(path := tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(decode(path, 1).numpy()[0], [[0, 1, 128], [255, 4, 1]])
    assert decode(path, 3).shape == (3, 2, 3)


def test_bilevel(tmp_path: Path) -> None:
    Image.fromarray(GREY > 100).save(path := tmp_path / "a.png")
    np.testing.assert_array_equal(decode(path, 1).numpy()[0], np.where(GREY > 100, 255, 0))


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path := tmp_path / "a.jpg")
    red, green, blue = decode(path, 3).float().mean((1, 2)).tolist()
    assert red > 245
    assert green < 10
    assert blue < 10


def test_palette_with_and_without_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(plain := tmp_path / "plain.png")
    assert decode(plain, 3)[:, 0].T.tolist() == [[255, 0, 0], [0, 0, 255]]
    image.save(clear := tmp_path / "clear.png", transparency=1)
    assert decode(clear, 3)[:, 0].T.tolist() == [[255, 0, 0], [255, 255, 255]]
    image.save(partly := tmp_path / "partly.png", transparency=bytes([255, 51]))
    assert decode(partly, 3)[:, 0].T.tolist() == [[255, 0, 0], [204, 204, 255]]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("mode", "pixel"), [("RGBA", (0, 0, 0, 51)), ("LA", (0, 51))])
def test_alpha_is_laid_on_white(tmp_path: Path, mode: str, pixel: tuple[int, ...], channels: int) -> None:
    Image.new(mode, (2, 2), pixel).save(path := tmp_path / "a.png")
    image = decode(path, channels)
    assert image.shape == (channels, 2, 2)
    assert image.unique().tolist() == [204]


def test_transparent_colour_of_a_png_without_alpha(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), (9, 9, 9)).save(path := tmp_path / "a.png", transparency=(9, 9, 9))
    assert decode(path, 3).unique().tolist() == [255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int) -> None:
    upright = COLOUR
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1), 7: upright[::-1, ::-1].transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(path := tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(decode(path, 3).numpy(), chw(upright))


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(path := tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert decode(path, 3)[:, 0, 0].tolist() == [255, 0, 0]


def test_format_counts_not_the_ending(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(path := tmp_path / "really_png.jpg", "PNG")
    np.testing.assert_array_equal(decode(path, 3).numpy(), chw(COLOUR))


def test_suffixes() -> None:
    assert {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"} <= image_suffixes()
    assert not {".eps", ".ps", ".pdf", ".txt", ".db", ".mp4"} & image_suffixes()


def bad_files(folder: Path) -> dict[str, Path]:
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(folder / "whole.jpg")
    Image.open(folder / "whole.jpg").save(folder / "whole.png")
    contents = {
        "empty.jpg": b"",
        "text.jpg": b"this is no image",
        "cut.jpg": (folder / "whole.jpg").read_bytes()[:1000],
        "cut.png": (folder / "whole.png").read_bytes()[:1000],
        "header.png": b"\x89PNG\r\n\x1a\n",
        "script.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
    }
    flipped = bytearray((folder / "whole.png").read_bytes())
    flipped[60:200] = bytes(140)
    contents["flipped.png"] = bytes(flipped)
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    Image.fromarray(np.ones((3, 3), np.float32)).save(folder / "float.tiff")
    Image.fromarray(np.full((3, 3), 1 << 20, np.int32)).save(folder / "int32.tiff")
    return {p.name: p for p in folder.iterdir() if not p.name.startswith("whole")}


def test_bad_files_give_one_line_with_their_name(tmp_path: Path) -> None:
    for name, path in bad_files(tmp_path / "bad").items():
        with pytest.raises(StkdError) as caught:
            decode(path, 3)
        message = str(caught.value)
        assert name in message
        assert "\n" not in message
        assert "delete or replace it" in message
        assert message.count(str(path)) == 1


def test_missing_file_and_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(StkdError, match=r"gone\.jpg cannot be read \(No such file"):
        decode(tmp_path / "gone.jpg", 3)
    with pytest.raises(StkdError, match=r"cannot be read \(Is a directory\); check the file"):
        decode(tmp_path, 3)
    assert pixel_size(tmp_path / "gone.jpg") is None


def test_decompression_bomb_limit_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (100, 100)).save(path := tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(StkdError, match=r"bomb\.png has too many pixels"):
        decode(path, 3)


def test_resize_square_matches_pillow_and_keeps_the_centre() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 61, 3), dtype=np.uint8)
    expected = Image.fromarray(pixels[14:75]).resize((24, 24), Image.Resampling.BILINEAR)
    image = resize_square(torch.from_numpy(pixels).permute(2, 0, 1), 24)
    assert np.abs(image.numpy().astype(int) - chw(np.asarray(expected)).astype(int)).max() <= 1


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 60), width=st.integers(1, 60), size=st.integers(8, 40), value=st.integers(0, 255))
def test_resize_square_has_the_size_and_keeps_constants(height: int, width: int, size: int, value: int) -> None:
    image = torch.full((3, height, width), value, dtype=torch.uint8)
    resized = resize_square(image, size)
    assert resized.shape == (3, size, size)
    assert resized.unique().tolist() == [value]
    assert torch.equal(resize_square(image[None], size)[0], resized)


def test_extreme_aspect_costs_nothing() -> None:
    image = torch.zeros(3, 1, 200_000, dtype=torch.uint8)
    assert resize_square(image, 224).shape == resize_square(image, 224, 0.875).shape == (3, 224, 224)


@pytest.mark.parametrize(("crop_pct", "interpolation"), [(0.875, "bicubic"), (0.95, "bilinear"), (0.9, "lanczos")])
@pytest.mark.parametrize("shape", [(150, 200), (300, 180), (40, 50)])
def test_evaluation_sees_what_timm_shows(
    tmp_path: Path, shape: tuple[int, int], crop_pct: float, interpolation: str
) -> None:
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    image = small.resize(shape[::-1], Image.Resampling.BICUBIC)
    image.save(path := tmp_path / "a.png")
    bicubic = interpolation.replace("lanczos", "bicubic")
    transform = create_transform(64, crop_pct=crop_pct, interpolation=bicubic, mean=(0,) * 3, std=(1,) * 3)
    expected = transform(image) * 255
    found = decode_square(path, 3, 64, crop_pct, interpolation).float()
    assert (found - expected).abs().max() <= 2  # Pillow's rounding
    assert (decode_square(path, 3, 64).float() - expected).abs().mean() > 8


@pytest.mark.parametrize("name", ["rotated.jpg", "plain.jpg", "clear.png", "grey.png"])
def test_content_of_a_file_is_decoded_as_the_file(tmp_path: Path, name: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 160, 4), dtype=np.uint8)
    image = Image.fromarray(pixels if name == "clear.png" else pixels[..., :3])
    exif = Image.Exif()
    if name == "rotated.jpg":
        exif[0x0112] = 6
    image.convert("L" if name == "grey.png" else image.mode).save(tmp_path / name, exif=exif)
    view = (3, 32, 0.875, "bicubic")
    assert torch.equal(decode_square((tmp_path / name).read_bytes(), *view), decode_square(tmp_path / name, *view))
    with pytest.raises(StkdError, match="the image is broken or no image"):
        decode_square((tmp_path / name).read_bytes()[:60], *view)


def test_why_a_file_is_broken(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "good.jpg", quality=95)
    content = (tmp_path / "good.jpg").read_bytes()
    (tmp_path / "short.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.png").write_text("no image")
    assert why_broken(tmp_path / "good.jpg") is None
    assert "is broken or no image (" in (why_broken(tmp_path / "short.jpg") or "")
    assert why_broken(tmp_path / "text.png") == "is broken or no image (its format is not known)"
    assert why_broken(tmp_path / "none.png") == "cannot be read (No such file or directory)"


def test_heic_photos(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="pillow-heif is not installed")
    image = Image.new("RGB", (64, 48), (200, 100, 50))
    pillow_heif.from_pillow(image).save(tmp_path / "a.heic", quality=95)
    assert ".heic" in image_suffixes()
    found = decode(tmp_path / "a.heic", 3)
    assert found.shape == (3, 48, 64)
    assert (found.float().mean((1, 2)) - torch.tensor([200.0, 100, 50])).abs().max() < 4
