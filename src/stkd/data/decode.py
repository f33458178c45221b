"""One image file to one uint8 tensor, whatever the file's format, mode, bit depth or orientation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from ..errors import StkdError

__all__ = ["FORMATS", "decode", "image_suffixes", "pixel_size", "resize_square"]

FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF",
    "PPM", "AVIF", "JPEG2000", "TGA", "PCX", "SGI", "ICO", "QOI",
)  # fmt: skip
"""Pillow's names of the formats that are read. EPS is left out on purpose: opening one runs Ghostscript."""


def image_suffixes() -> frozenset[str]:
    """File name endings, with dot and in lower case, of the formats that are read."""
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)


def decode(path: Path, channels: int) -> Tensor:
    """Decode an image file.

    The EXIF orientation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bits, and of an animation
    the first frame is taken.

    Args:
        path: The file.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 tensor (channels, H, W).

    Raises:
        StkdError: The file cannot be read, is no image, is broken, or decodes to more pixels than Pillow's limit.
    """
    try:
        with Image.open(path, formats=_available()) as image:
            plain = _to_8_bits(ImageOps.exif_transpose(image))
            if plain.has_transparency_data:
                rgba = plain.convert("RGBA")
                plain = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
            pixels = np.array(plain.convert("L" if channels == 1 else "RGB"))
    except (FileNotFoundError, PermissionError) as error:
        raise StkdError(f"{path} cannot be read ({error.strerror}); check the file and its permissions") from None
    except Image.DecompressionBombError:
        raise StkdError(f"{path} has too many pixels for one image; scale it down or remove it") from None
    except Exception as error:  # Pillow's readers raise nearly anything on broken files
        reason = " ".join(str(error).split()).replace(repr(str(path)), "it") or type(error).__name__
        raise StkdError(f"{path} is broken or no image ({reason}); delete or replace it") from None
    return torch.from_numpy(np.atleast_3d(pixels)).permute(2, 0, 1).contiguous()


def pixel_size(path: Path) -> tuple[int, int] | None:
    """Width and height from the file's header, None where it has no readable one."""
    try:
        with Image.open(path, formats=_available()) as image:
            return image.size
    except Exception:  # whatever is wrong, `decode` says it
        return None


def resize_square(image: Tensor, size: int) -> Tensor:
    """Resize the shorter side to `size` and crop the centre, as evaluation does.

    The crop is taken first: the same picture, but an image of 1 x 50,000 pixels costs nothing.

    Args:
        image: uint8 (C, H, W) or (N, C, H, W).
        size: Side of the result in pixels.

    Returns:
        uint8 tensor (..., C, size, size), interpolated linearly with antialiasing.
    """
    height, width = image.shape[-2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = image[..., top : top + side, left : left + side]
    if side == size:
        return image.contiguous()
    batch = image if image.ndim == 4 else image[None]
    batch = functional.interpolate(batch, (size, size), mode="bilinear", antialias=True)
    return (batch if image.ndim == 4 else batch[0]).contiguous()


def _available() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if not image.mode.startswith("I"):
        return image
    grey = np.asarray(image).astype(np.int64)
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError("its pixels have more than 16 bits")
    return Image.fromarray(((grey + 128) // 257).astype(np.uint8))
