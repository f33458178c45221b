"""Pictures in all formats that browsers and Pillow decode alike."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, features
from sklearn.datasets import load_sample_image

__all__ = ["write_pictures"]

_ORIENTATION = 0x0112
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def write_pictures(folder: Path) -> list[Path]:
    """Write them, of two photos, and return them in order."""
    flower, china = (Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("flower", "china"))
    levels = np.asarray(flower)
    clear, paletted = flower.copy(), flower.quantize(64)
    clear.putalpha(Image.fromarray(np.linspace(0, 255, flower.width).astype(np.uint8)[None].repeat(flower.height, 0)))
    china.resize((3000, 2000)).save(folder / "large.jpg", quality=92)
    china.resize((2400, 1600)).save(folder / "progressive.jpg", progressive=True, subsampling=0)
    for orientation in (2, 3, 5, 6):
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        flower.save(folder / f"orientation{orientation}.jpg", exif=exif)
    flower.convert("L").save(folder / "grey.jpg")
    flower.convert("CMYK").save(folder / "cmyk.jpg")
    flower.save(folder / "profile.jpg", icc_profile=_foreign_profile())
    china.resize((4000, 300)).save(folder / "long.jpg")
    flower.resize((20, 30)).save(folder / "tiny.png")
    clear.save(folder / "clear.png")
    clear.convert("LA").save(folder / "grey clear.png")
    paletted.save(folder / "palette.png", transparency=3)
    flower.convert("1").save(folder / "black and white.png")
    Image.fromarray(np.asarray(flower.convert("L")).astype(np.uint16) * 257).save(folder / "grey16.png")
    (folder / "rgb16.png").write_bytes(_rgb16(levels.astype(np.uint16) * 257))
    (folder / "gamma.png").write_bytes(_with_gamma(flower))
    flower.save(folder / "lossy.webp")
    clear.save(folder / "lossless.webp", lossless=True)
    paletted.save(folder / "animated.gif", save_all=True, append_images=[china.quantize(64)], transparency=5)
    flower.save(folder / "plain.bmp")
    if features.check("avif"):
        flower.save(folder / "photo.avif")
    return sorted(folder.iterdir())


def _foreign_profile() -> bytes:
    """A colour profile with red and blue exchanged: whoever applies it shows other colours."""
    profile: bytes = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rgb16(levels: np.ndarray[tuple[int, ...], np.dtype[np.uint16]]) -> bytes:
    """A PNG of 16 bits a channel, which Pillow does not write."""
    height, width, _ = levels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _with_gamma(image: Image.Image) -> bytes:
    """A PNG that says that its levels are linear, which browsers heed unless they are told otherwise."""
    content = io.BytesIO()
    image.save(content, "PNG")
    end = len(_SIGNATURE) + 25  # of the header's chunk
    plain = content.getvalue()
    return plain[:end] + _chunk(b"gAMA", struct.pack(">I", 100_000)) + plain[end:]
