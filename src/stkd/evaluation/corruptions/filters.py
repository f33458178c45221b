"""Filters that several corruptions are made of: smoothing, enlarging, the trail of a moving camera."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Corruption", "enlarged", "gaussian", "smoothed", "trail"]


@dataclass(frozen=True)
class Corruption:
    """An operation and how strong it is.

    Attributes:
        operation: From images (B, C, H, W) in 0..1, an amount and a generator on the CPU to images; the caller clips.
        cifar, tiny, imagenet: The amounts of severities 1 to 5 that made CIFAR-10-C, Tiny-ImageNet-C and ImageNet-C.
    """

    operation: Callable[[Tensor, Any, torch.Generator], Tensor]
    cifar: tuple[Any, ...]
    tiny: tuple[Any, ...]
    imagenet: tuple[Any, ...]


def gaussian(sigma: float, reach: int) -> Tensor:
    """Weights (2 reach + 1,) of a Gaussian that sum to 1; sigma 0 is a single 1."""
    weights = torch.exp(-(torch.arange(-reach, reach + 1.0) ** 2) / (2 * max(sigma, 1e-6) ** 2))
    return weights / weights.sum()


def smoothed(x: Tensor, sigma: float, truncate: float, mirrored: bool = False) -> Tensor:
    """Images filtered by a Gaussian, as scipy.ndimage.gaussian_filter does.

    A product with a matrix for each direction, so that filters wider than the image cost no more than others.

    Args:
        x: (B, C, H, W).
        sigma: In pixels.
        truncate: Standard deviations after which the filter ends.
        mirrored: Whether the image is continued by its mirror image (scipy's "reflect") or by its last pixels.
    """
    down, across = (_smoothing(side, sigma, truncate, mirrored).to(x.device) for side in x.shape[2:])
    return down @ x @ across.T


def _smoothing(side: int, sigma: float, truncate: float, mirrored: bool) -> Tensor:
    """Matrix (side, side) that filters a column of pixels."""
    reach = int(truncate * sigma + 0.5)
    place = torch.arange(side)[:, None] + torch.arange(-reach, reach + 1)
    if mirrored:
        place = place % (2 * side)
        place = torch.minimum(place, 2 * side - 1 - place)
    weights = gaussian(sigma, reach).expand(side, -1)
    return torch.zeros(side, side).scatter_add_(1, place.clamp(0, side - 1), weights)


def trail(x: Tensor, length: int, sigma: float, angle: Tensor) -> Tensor:
    """Images smeared in one direction with weights of half a Gaussian, as ImageMagick's motion blur does.

    Args:
        x: (B, C, H, W).
        length: Half the pixels of the trail.
        sigma: Of the Gaussian, in pixels.
        angle: (B,), radians from the horizontal.
    """
    weights = torch.exp(-(torch.arange(2.0 * length + 1) ** 2) / (2 * sigma**2))
    smeared = torch.zeros_like(x)
    for step, weight in enumerate((weights / weights.sum()).tolist()):
        if weight > 1e-4:  # of 255 grey levels nothing would be seen
            smeared += weight * _moved(x, step * angle.sin(), step * angle.cos())
    return smeared


def _moved(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Each image moved by a number of pixels, its border pixels repeated."""
    height, width = x.shape[2:]
    grid = torch.eye(2, 3).repeat(len(x), 1, 1)
    grid[:, 0, 2], grid[:, 1, 2] = 2 * right / width, 2 * down / height
    return F.grid_sample(
        x, F.affine_grid(grid, list(x.shape), align_corners=False).to(x.device), "bilinear", "border", False
    )


def enlarged(x: Tensor, zoom: float) -> Tensor:
    """The middle of each image enlarged to its size, by scipy.ndimage.zoom's rule of order 1.

    The middle is a whole number of pixels, so it stands off the centre by up to half a pixel, as published.

    Args:
        x: (B, C, H, W).
        zoom: 1 or more.
    """
    size = list(x.shape[2:])
    cut = [math.ceil(side / zoom) for side in size]
    large = F.interpolate(_middle(x, cut), [round(c * zoom) for c in cut], mode="bilinear", align_corners=True)
    return _middle(large, size)


def _middle(x: Tensor, size: list[int]) -> Tensor:
    top, left = ((side - wanted) // 2 for side, wanted in zip(x.shape[2:], size, strict=True))
    return x[:, :, top : top + size[0], left : left + size[1]]
