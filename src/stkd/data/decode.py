"""One image file to one uint8 tensor, whatever the file's format, mode, bit depth or orientation.

Pillow reads everything. Ordinary colour JPEGs go through simplejpeg where that is installed (`pip install
'stkd[fast-jpeg]'`): the same pixels in less time. HEIC, which phones write, needs pillow-heif (`pip install
'stkd[heic]'`).
"""

from __future__ import annotations

import contextlib
import errno
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from ..core.errors import StkdError
from .members import Member

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

with contextlib.suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()

__all__ = [
    "FORMATS",
    "BrokenImage",
    "Encoded",
    "ImageSource",
    "decode",
    "decode_square",
    "image_suffixes",
    "open_image",
    "pixel_size",
    "resize_square",
    "resized",
    "resized_crop",
    "why_broken",
]

FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF",
    "PPM", "AVIF", "HEIF", "JPEG2000", "TGA", "PCX", "SGI", "ICO", "QOI",
)  # fmt: skip
"""Pillow's names of the formats that are read. EPS is left out on purpose: opening one runs Ghostscript."""


ImageSource = Path | Member | bytes
"""An image file, one inside a larger file, or its content."""

_ORIENTATION = 0x0112


def image_suffixes() -> frozenset[str]:
    """File name endings, with dot and in lower case, of the formats that are read."""
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)


class BrokenImage(StkdError):
    """An image file that cannot be decoded.

    Attributes:
        reason: What is wrong with it, in words that follow its name.
        lasting: Whether it lies in the file, and not in the disk or in the memory that was left.
    """

    def __init__(self, source: ImageSource, reason: str, advice: str, *, lasting: bool = True) -> None:
        super().__init__(f"{_name(source)} {reason}; {advice}")
        self.reason, self.lasting = reason, lasting


@dataclass(frozen=True)
class Encoded:
    """An image file whose size is known and whose pixels are still to be decoded.

    Attributes:
        source: The file, or its content.
        height, width: In pixels, upright.
        jpeg: Content of the file, where simplejpeg can decode it: an upright JPEG, RGB or grey.
    """

    source: ImageSource
    height: int
    width: int
    jpeg: bytes | None

    def pixels(self, channels: int, reduction: float = 1.0) -> Tensor:
        """Decode.

        The EXIF orientation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bits, and of an
        animation the first frame is taken.

        Args:
            channels: 1 for grey, 3 for RGB.
            reduction: By how much the image may come smaller. JPEGs are decoded to the next larger one of 1, 1/2, 1/4
                and 1/8 of their size, which saves most of the work; other formats come in full. For training only.

        Returns:
            uint8 tensor (channels, H, W), its channels last in memory.

        Raises:
            BrokenImage: The file cannot be read, is no image, is broken, or decodes to more pixels than Pillow's limit.
        """
        factor = next(f for f in (8, 4, 2, 1) if f <= max(1, reduction))
        pixels = self._fast(factor) if channels == 3 else None
        if pixels is None:  # only Pillow can decode the file, or say what is wrong with it
            pixels = _with_pillow(self.source, channels, factor)
        return torch.from_numpy(pixels).permute(2, 0, 1)

    def _fast(self, factor: int) -> NDArray[np.uint8] | None:
        """Pixels (H, W, 3) by simplejpeg, None for a file that it does not take."""
        if self.jpeg is None:
            return None
        smallest = {"min_height": -(-self.height // factor), "min_width": -(-self.width // factor)}
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(self.jpeg, "RGB", **smallest, min_factor=factor)
        except ValueError:
            return None
        return pixels


def open_image(source: ImageSource) -> Encoded:
    """Read an image file, or its content, as far as its size.

    Raises:
        BrokenImage: The file cannot be read, is no image, or has more pixels than Pillow's limit.
    """
    with _one_line(source):
        content = source if isinstance(source, bytes) else source.read_bytes()
        with Image.open(BytesIO(content), formats=_available()) as image:
            orientation = image.getexif().get(_ORIENTATION, 1)
            width, height = image.size[::-1] if orientation in (5, 6, 7, 8) else image.size
            upright_jpeg = image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L") and orientation == 1
        return Encoded(source, height, width, content if upright_jpeg and simplejpeg is not None else None)


def decode(path: Path | Member, channels: int) -> Tensor:
    """Decode an image file in full; see `Encoded.pixels`.

    Args:
        path: The file.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 tensor (channels, H, W).

    Raises:
        BrokenImage: The file cannot be read, is no image, is broken, or decodes to more pixels than Pillow's limit.
    """
    return open_image(path).pixels(channels).contiguous()


def decode_square(
    source: ImageSource, channels: int, size: int, crop_pct: float = 1.0, interpolation: str = "bilinear"
) -> Tensor:
    """Bring an image file, or its content, to the square that evaluation sees; see `resize_square`.

    It is decoded in full: every other runtime can do the same, and gets the same pixels.

    Returns:
        uint8 tensor (channels, size, size).

    Raises:
        BrokenImage: As `decode`.
    """
    return resize_square(open_image(source).pixels(channels), size, crop_pct, interpolation)


def why_broken(path: Path | Member, channels: int = 3) -> str | None:
    """Why a file cannot be decoded, in words that follow its name; None for one that can.

    JPEGs are read to their end, but decoded to an eighth of their size, which saves much of the work. Threads may call
    it side by side.
    """
    try:
        open_image(path).pixels(channels, reduction=8)
    except BrokenImage as error:
        return error.reason
    return None


def _with_pillow(source: ImageSource, channels: int, factor: int) -> NDArray[np.uint8]:
    with _one_line(source), Image.open(_readable(source), formats=_available()) as image:
        if factor > 1:  # without effect on formats other than JPEG
            image.draft(None, (max(1, image.width // factor), max(1, image.height // factor)))
        plain = _to_8_bits(ImageOps.exif_transpose(image))
        if plain.has_transparency_data:
            rgba = plain.convert("RGBA")
            plain = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return np.atleast_3d(np.array(plain.convert("L" if channels == 1 else "RGB")))


def _readable(source: ImageSource) -> Path | BytesIO:
    """As Pillow takes it."""
    if isinstance(source, Path):
        return source
    return BytesIO(source if isinstance(source, bytes) else source.read_bytes())


@contextlib.contextmanager
def _one_line(source: ImageSource) -> Iterator[None]:
    """Turn every error about a file into one line."""
    try:
        yield
    except MemoryError:
        reason, advice = "cannot be decoded, no memory is left", "scale it down, or take fewer --workers"
        raise BrokenImage(source, reason, advice, lasting=False) from None
    except Image.DecompressionBombError:
        raise BrokenImage(source, "has too many pixels for one image", "scale it down or remove it") from None
    except UnidentifiedImageError:
        reason = "is broken or no image (its format is not known)"
        raise BrokenImage(source, reason, "delete or replace it") from None
    except Exception as error:  # Pillow's readers raise nearly anything on broken files
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # said by the system, not by Pillow
            reason = f"cannot be read ({error.strerror})"
            raise BrokenImage(source, reason, "check the file and its permissions", lasting=False) from None
        said = " ".join(str(error).split()).replace(repr(_name(source)), "it") or type(error).__name__
        raise BrokenImage(source, f"is broken or no image ({said})", "delete or replace it") from None


def _name(source: ImageSource) -> str:
    return "the image" if isinstance(source, bytes) else str(source)


def pixel_size(path: Path | Member) -> tuple[int, int] | None:
    """Width and height from the file's header, None where it has no readable one."""
    try:
        with Image.open(_readable(path), formats=_available()) as image:
            return image.size
    except Exception:  # whatever is wrong, `decode` says it
        return None


def resize_square(image: Tensor, size: int, crop_pct: float = 1.0, interpolation: str = "bilinear") -> Tensor:
    """The square of an image that evaluation sees: its shorter side resized to `size / crop_pct`, the centre cut out.

    By default the middle square is cut out first: the same picture to half a pixel, for less work. Otherwise it is done
    in timm's order and with its rounding, since published figures are of exactly these pixels.

    Args:
        image: uint8 (C, H, W) or (N, C, H, W).
        size: Side of the result in pixels.
        crop_pct: Share of the shorter side that the result shows, in (0, 1].
        interpolation: "bilinear", or "bicubic", which also stands in for Lanczos; always with antialiasing.

    Returns:
        uint8 tensor (..., C, size, size).
    """
    height, width = image.shape[-2:]
    side = min(height, width)
    if crop_pct == 1 and interpolation == "bilinear":
        return resized_crop(image, (height - side) // 2, (width - side) // 2, side, side, size).contiguous()
    shorter = _shorter_side(size, crop_pct)
    top, left = max(0, height - _LONGEST * side) // 2, max(0, width - _LONGEST * side) // 2
    image = image[..., top : height - top, left : width - left]
    height, width = image.shape[-2:]
    image = resized(image, int(shorter * height / side), int(shorter * width / side), interpolation)
    top, left = (round((length - size) / 2) for length in image.shape[-2:])
    return image[..., top : top + size, left : left + size].contiguous()


_LONGEST = 4
"""Of an image that is longer, in shorter sides, the middle is resized: one of 1 x 50,000 pixels costs nothing."""


def _shorter_side(size: int, crop_pct: float) -> int:
    return math.floor(size / crop_pct)


def resized_crop(image: Tensor, top: int, left: int, height: int, width: int, size: int) -> Tensor:
    """Crop a box and resize it, linearly with antialiasing.

    Args:
        image: uint8 (C, H, W) or (N, C, H, W).
        top, left, height, width: The box, in pixels.
        size: Side of the result in pixels.

    Returns:
        uint8 tensor (..., C, size, size), in the image's order of memory.
    """
    image = image[..., top : top + height, left : left + width]
    return image if height == width == size else resized(image, size, size)


def resized(image: Tensor, height: int, width: int, interpolation: str = "bilinear") -> Tensor:
    """An image uint8 (C, H, W), or (N, C, H, W), in another size, with antialiasing."""
    # placed here, the new dimension keeps channels last in memory, which torch resizes twice as fast
    batch = image if image.ndim == 4 else image.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
    mode = "bicubic" if interpolation in ("bicubic", "lanczos") else "bilinear"
    batch = functional.interpolate(batch, (height, width), mode=mode, antialias=True)
    return batch if image.ndim == 4 else batch[0]


@cache
def _available() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if not image.mode.startswith("I"):
        return image
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 65535:
        raise ValueError("its pixels have more than 16 bits")
    scaled = grey.astype(np.uint32)
    scaled += 128  # in place: such images may be large
    scaled //= 257
    return Image.fromarray(scaled.astype(np.uint8))
