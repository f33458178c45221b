"""Common corruptions of images, each at five severities.

Hendrycks & Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019.
Ten of their fifteen, with the severities that made CIFAR-10-C for images up to 64 pixels and those of ImageNet-C for
larger ones, as whole-batch operations. Left out: glass blur, snow, frost, fog and elastic transform. The packages that
compute them one image at a time do not run with today's scikit-image, or need ImageMagick.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

__all__ = ["CORRUPTIONS", "SEVERITIES", "corrupt"]

SEVERITIES = (1, 2, 3, 4, 5)

_SMALL = 64  # side in pixels up to which CIFAR-10-C's severities apply


def corrupt(images: Tensor, name: str, severity: int, generator: torch.Generator) -> Tensor:
    """Corrupt a batch of images.

    Args:
        images: uint8 (B, C, H, W), grey or RGB.
        name: One of `CORRUPTIONS`.
        severity: 1 (least) to 5.
        generator: On the CPU; the same state gives the same images on every device.

    Returns:
        uint8 (B, C, H, W), fractions cut off as in CIFAR-10-C.
    """
    operation, small, large = _TABLE[name]
    amount = (small if images.shape[-1] <= _SMALL else large)[severity - 1]
    corrupted = operation(images.float() / 255, amount, generator).clamp(0, 1) * 255
    return (corrupted + 1e-3).to(torch.uint8)  # whole numbers stay what they are in spite of rounding errors


def _normal(images: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(images.shape, generator=generator).to(images.device)


def _gaussian_noise(x: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    return x + scale * _normal(x, generator)


def _shot_noise(x: Tensor, photons: float, generator: torch.Generator) -> Tensor:
    return (torch.poisson((x * photons).cpu(), generator=generator) / photons).to(x.device)


def _impulse_noise(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Salt and pepper, each channel on its own."""
    chance = torch.rand(x.shape, generator=generator).to(x.device)
    return torch.where(chance < share, (chance < share / 2).float(), x)


def _defocus_blur(x: Tensor, lens: tuple[float, float], _: torch.Generator) -> Tensor:
    """A disk whose edge is smoothed by a Gaussian."""
    radius, smooth = lens
    reach = math.ceil(radius) + 2
    y, z = torch.meshgrid(*[torch.arange(-reach, reach + 1.0)] * 2, indexing="ij")
    disk = (y**2 + z**2 <= radius**2).float()
    edge = _gaussian(smooth, 1 if radius <= 8 else 2)
    kernel = F.conv2d(disk[None, None] / disk.sum(), (edge[:, None] * edge)[None, None], padding="same")
    return _filtered(x, kernel[0, 0])


def _motion_blur(x: Tensor, camera: tuple[int, float], generator: torch.Generator) -> Tensor:
    """A one-sided Gaussian trail, each image in its own direction within 45 degrees of the horizontal."""
    length, sigma = camera
    weights = torch.exp(-(torch.arange(2.0 * length + 1) ** 2) / (2 * sigma**2))
    angle = (torch.rand(len(x), generator=generator) - 0.5) * math.pi / 2
    blurred = torch.zeros_like(x)
    for step, weight in enumerate((weights / weights.sum()).tolist()):
        blurred += weight * _moved(x, step * angle.sin(), step * angle.cos())
    return blurred


def _zoom_blur(x: Tensor, zoom: tuple[int, float], _: torch.Generator) -> Tensor:
    """The mean of the image and of ever closer views of its centre."""
    views, step = zoom
    total = x.clone()
    for view in range(views):
        grid = torch.eye(2, 3).expand(len(x), -1, -1) / (1 + view * step)
        total += F.grid_sample(
            x, F.affine_grid(grid, list(x.shape), align_corners=False).to(x.device), "bilinear", "reflection", False
        )
    return total / (views + 1)


def _brightness(x: Tensor, more: float, _: torch.Generator) -> Tensor:
    """The value of HSV raised, hue and saturation kept."""
    value = x.amax(1, keepdim=True)
    raised = (value + more).clamp_max(1)
    return torch.where(value > 0, x * raised / value.clamp_min(1e-6), raised)


def _contrast(x: Tensor, factor: float, _: torch.Generator) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) * factor + mean


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


def _gaussian(sigma: float, reach: int) -> Tensor:
    weights = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    return weights / weights.sum()


def _filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Every channel through one kernel, the border mirrored without its last pixel (OpenCV's rule)."""
    reach = min(len(kernel) // 2, x.shape[-1] - 1)
    cut = len(kernel) // 2 - reach
    kernel = kernel[cut : len(kernel) - cut, cut : len(kernel) - cut].to(x.device)
    weight = kernel.expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, [reach] * 4, mode="reflect"), weight, groups=x.shape[1])


def _moved(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Each image moved by a number of pixels, its border pixels repeated."""
    height, width = x.shape[2:]
    grid = torch.eye(2, 3).repeat(len(x), 1, 1)
    grid[:, 0, 2], grid[:, 1, 2] = 2 * right / width, 2 * down / height
    return F.grid_sample(
        x, F.affine_grid(grid, list(x.shape), align_corners=False).to(x.device), "bilinear", "border", False
    )


_TABLE: dict[str, tuple[Callable[..., Tensor], tuple[object, ...], tuple[object, ...]]] = {
    "gaussian_noise": (_gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": (_shot_noise, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3)),
    "impulse_noise": (_impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus_blur": (
        _defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "motion_blur": (
        _motion_blur,
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom_blur": (
        _zoom_blur,
        ((7, 0.01), (12, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)),
        ((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
    ),
    "brightness": (_brightness, (0.05, 0.10, 0.15, 0.20, 0.30), (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (_contrast, (0.75, 0.50, 0.40, 0.30, 0.15), (0.4, 0.3, 0.2, 0.1, 0.05)),
    "pixelate": (_pixelate, (0.95, 0.90, 0.85, 0.75, 0.65), (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": (_jpeg_compression, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7)),
}

CORRUPTIONS = tuple(_TABLE)
"""Names of the corruptions."""
