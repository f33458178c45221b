"""Images of a data set as small PNG files in text, ready for HTML."""

from __future__ import annotations

import base64
import io

import torch
from PIL import Image
from torch import Tensor

from ..data.base import DataSet, ImageFiles, Split

__all__ = ["data_uri", "read_pixels"]

_SMALL = 64  # pixels a side up to which an image keeps its own pixels
_SIDE = 80  # pixels a side that larger images are resized to
_COLOURS = 128  # of larger images: a fifth of the bytes, hardly visible at this size


def read_pixels(split: Split, data: DataSet, positions: list[int]) -> Tensor:
    """Some images of a split as evaluation sees them before normalisation: float32 (P, C, H, W), values 0..255."""
    images = split.images
    if not isinstance(images, ImageFiles):
        return torch.stack([torch.from_numpy(images[i].copy()) for i in positions]).float()
    from ..data.decode import decode_square

    view = (images.channels, images.size, images.crop_pct, images.interpolation)
    return torch.stack([decode_square(images[i], *view) for i in positions]).float()


def data_uri(pixels: Tensor) -> str:
    """An image as a data URI.

    Args:
        pixels: (C, H, W), values 0..255, 1 or 3 channels.
    """
    values = pixels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else values)
    if max(image.size) > _SMALL:
        image = image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS).quantize(_COLOURS)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
