"""Blur: out of focus, behind frosted glass, in motion, zoomed."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .filters import Corruption, enlarged, gaussian, smoothed, trail

__all__ = ["TABLE"]


def _defocus_blur(x: Tensor, lens: tuple[float, float], _: torch.Generator) -> Tensor:
    """A disk whose edge is smoothed by a Gaussian."""
    radius, smooth = lens
    reach = math.ceil(radius) + 2
    y, z = torch.meshgrid(*[torch.arange(-reach, reach + 1.0)] * 2, indexing="ij")
    disk = (y**2 + z**2 <= radius**2).float()
    edge = gaussian(smooth, 1 if radius <= 8 else 2)
    kernel = F.conv2d(disk[None, None] / disk.sum(), (edge[:, None] * edge)[None, None], padding="same")
    return _filtered(x, kernel[0, 0])


def _filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Every channel through one kernel, the border mirrored without its last pixel (OpenCV's rule)."""
    reach = min(len(kernel) // 2, x.shape[-1] - 1)
    cut = len(kernel) // 2 - reach
    kernel = kernel[cut : len(kernel) - cut, cut : len(kernel) - cut].to(x.device)
    weight = kernel.expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, [reach] * 4, mode="reflect"), weight, groups=x.shape[1])


def _glass_blur(x: Tensor, glass: tuple[float, int, int], generator: torch.Generator) -> Tensor:
    """Smoothed, pixels exchanged with near ones, smoothed again."""
    sigma, reach, rounds = glass
    x = (smoothed(x, sigma, truncate=4) * 255 + 1e-3).floor() / 255
    for _ in range(rounds):
        sources = _pixels_near_by(len(x), x.shape[2], x.shape[3], reach, generator).to(x.device)
        x = x.flatten(2).gather(2, sources[:, None].expand(-1, x.shape[1], -1)).view(x.shape)
    return smoothed(x, sigma, truncate=4)


def _pixels_near_by(count: int, height: int, width: int, reach: int, generator: torch.Generator) -> Tensor:
    """Source of each pixel when, from the last to the first, each takes the pixel that is then at a near position.

    The published code means to swap both pixels, but its swap of two views of an array is a copy.

    Returns:
        Positions, int64 (count, height * width).
    """
    place = torch.arange(height * width).view(height, width)
    inside = torch.zeros(height, width, dtype=torch.bool)
    inside[reach + 1 : height - reach + 1, reach + 1 : width - reach + 1] = True
    down, right = torch.randint(-reach, reach, (2, count, height, width), generator=generator)
    taken = torch.where(inside, place + down * width + right, place).flatten(1)
    # what stands there is the result of a copy already made, which leads on to the place that this one took, and so on
    made = inside.flatten()[taken] & (taken > place.flatten())
    last = torch.where(made, taken, place.flatten())
    while not torch.equal(further := last.gather(1, last), last):
        last = further
    return taken.gather(1, last)


def _motion_blur(x: Tensor, camera: tuple[int, float], generator: torch.Generator) -> Tensor:
    """Each image in its own direction within 45 degrees of the horizontal."""
    return trail(x, *camera, angle=(torch.rand(len(x), generator=generator) - 0.5) * math.pi / 2)


def _zoom_blur(x: Tensor, zoom: tuple[int, float], _: torch.Generator) -> Tensor:
    """The mean of the image and of ever closer views of its centre."""
    views, step = zoom
    step = (1 + step) - 1  # as numpy.arange(1, ...) has it: 26 pixels enlarged by a little over 1.25 are 33, not 32
    closer = torch.stack([enlarged(x, 1 + view * step) for view in range(views)])
    return (x + closer.sum(0)) / (views + 1)


TABLE = {
    "defocus_blur": Corruption(
        _defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((0.5, 0.6), (1, 0.1), (1.5, 0.1), (2.5, 0.01), (3, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "glass_blur": Corruption(
        _glass_blur,
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.1, 1, 1), (0.5, 1, 1), (0.6, 1, 2), (0.7, 2, 1), (0.9, 2, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    "motion_blur": Corruption(
        _motion_blur,
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 1), (10, 1.5), (10, 2), (10, 2.5), (12, 3)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom_blur": Corruption(
        _zoom_blur,
        ((7, 0.01), (12, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)),
        ((7, 0.01), (12, 0.01), (16, 0.01), (21, 0.01), (26, 0.01)),
        ((12, 0.01), (16, 0.01), (11, 0.02), (13, 0.02), (11, 0.03)),
    ),
}
