"""What is done to an image after it was taken: contrast, stretching, fewer pixels, JPEG."""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from .filters import Corruption, smoothed

__all__ = ["TABLE"]


def _contrast(x: Tensor, factor: float, _: torch.Generator) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) * factor + mean


def _elastic_transform(x: Tensor, rubber: tuple[float, float, float], generator: torch.Generator) -> Tensor:
    """Three corners of a square moved at random, then every pixel by a smooth random field.

    Args:
        x: (B, C, H, W).
        rubber: Largest move of a pixel before smoothing, sigma of the smoothing and largest move of a corner, in sides.
        generator: On the CPU.
    """
    count, _, height, width = x.shape
    side = min(height, width)
    move, sigma, corner = (side * share for share in rubber)
    place = torch.stack(torch.meshgrid(torch.arange(1.0 * width), torch.arange(1.0 * height), indexing="xy"), -1)
    middle, half = torch.tensor([width // 2, height // 2]), side // 3
    corners = middle + half * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    moved = corners + corner * _uniform((count, 3, 2), generator)
    back = torch.linalg.solve(F.pad(moved, (0, 1), value=1.0), corners)  # the affine map from moved corners to corners
    origin = F.pad(place, (0, 1), value=1.0).view(1, -1, 3) @ back
    x = _taken(x, origin.view(count, height, width, 2), at_pixels=True)
    field = move * smoothed(_uniform((count, 2, height, width), generator), sigma, truncate=3, mirrored=True)
    return _taken(x, place + field.permute(0, 2, 3, 1), at_pixels=False)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2 * torch.rand(shape, generator=generator) - 1


def _taken(x: Tensor, place: Tensor, at_pixels: bool) -> Tensor:
    """Images (B, C, H, W) looked up at places (B, H, W, 2), x and y in pixels; outside they are mirrored.

    Args:
        x: Images.
        place: Places.
        at_pixels: Whether mirrors stand on the middle of the last pixels or on their edges.
    """
    size = torch.tensor([x.shape[3], x.shape[2]])
    grid = 2 * place / (size - 1) - 1 if at_pixels else (2 * place + 1) / size - 1
    return F.grid_sample(x, grid.to(x.device), "bilinear", "reflection", at_pixels)


def _pixelate(x: Tensor, factor: float, _: torch.Generator) -> Tensor:
    """Fewer pixels by the mean of each box, and back."""
    height, width = x.shape[2:]
    small = _shrink(height, factor).to(x.device) @ x @ _shrink(width, factor).T.to(x.device)
    return F.interpolate((small * 255).round() / 255, (height, width), mode="nearest-exact")  # Pillow rounds here


def _shrink(side: int, factor: float) -> Tensor:
    """Matrix (s, side), s = int(side * factor): each row averages the pixels with their centre in one of s boxes."""
    edges = torch.linspace(0, side, int(side * factor) + 1)[:, None]
    centres = torch.arange(side) + 0.5
    inside = ((centres > edges[:-1]) & (centres <= edges[1:])).float()  # Pillow's box filter
    return inside / inside.sum(1, keepdim=True)


def _jpeg_compression(x: Tensor, quality: int, _: torch.Generator) -> Tensor:
    pixels = (x * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    packed = [_through_jpeg(image, quality) for image in pixels]
    return torch.from_numpy(np.stack(packed)).to(x.device).permute(0, 3, 1, 2) / 255


def _through_jpeg(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, "JPEG", quality=quality)
    return np.atleast_3d(np.array(Image.open(file)))


_IMAGENET = 244 / 224  # the sides that ImageNet-C reckons with, which are not quite its images'

TABLE = {
    "contrast": Corruption(
        _contrast, (0.75, 0.50, 0.40, 0.30, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05), (0.4, 0.3, 0.2, 0.1, 0.05)
    ),
    "elastic_transform": Corruption(
        _elastic_transform,
        ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03)),
        ((0, 0, 0.08), (0.05, 0.3, 0.06), (0.1, 0.08, 0.06), (0.1, 0.03, 0.03), (0.16, 0.03, 0.02)),
        tuple(
            tuple(_IMAGENET * share for share in rubber)
            for rubber in ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02), (0.12, 0.01, 0.02))
        ),
    ),
    "pixelate": Corruption(
        _pixelate, (0.95, 0.90, 0.85, 0.75, 0.65), (0.9, 0.8, 0.7, 0.6, 0.5), (0.6, 0.5, 0.4, 0.3, 0.25)
    ),
    "jpeg_compression": Corruption(_jpeg_compression, (80, 65, 58, 50, 40), (65, 58, 50, 40, 25), (25, 18, 15, 10, 7)),
}
