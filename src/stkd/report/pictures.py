"""Images as small PNG files inside the page."""

from __future__ import annotations

import base64
import io

import torch
from PIL import Image
from torch import Tensor

from ..data import DataSet, ImageFiles, Split

__all__ = ["SMALL", "data_uri", "pixels_of"]

SMALL = 64
"""Side in pixels up to which an image keeps its own pixels."""

_SIDE = 80  # of larger images in the page
_COLOURS = 128  # of larger images: a fifth of the bytes, and hardly to be seen at this size


def pixels_of(split: Split, data: DataSet, positions: list[int]) -> Tensor:
    """Some images of a split as evaluation sees them, before normalisation: float32 (P, C, H, W), values 0..255."""
    images = split.images
    if not isinstance(images, ImageFiles):
        return torch.stack([torch.from_numpy(images[i].copy()) for i in positions]).float()
    from ..data.decode import decode, resize_square

    decoded = (decode(images.root / images.names[i], images.channels) for i in positions)
    return torch.stack([resize_square(image, images.size) for image in decoded]).float()


def data_uri(pixels: Tensor) -> str:
    """An image as the text that `src` takes.

    Args:
        pixels: (C, H, W), values 0..255, 1 or 3 channels.
    """
    values = pixels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    image = Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else values)
    if max(image.size) > SMALL:
        image = image.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS).quantize(_COLOURS)
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
