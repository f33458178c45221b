"""Weather: snow, fog, bright light."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .filters import Corruption, enlarged, trail

__all__ = ["TABLE"]

_LUMA = (0.299, 0.587, 0.114)


def _snow(x: Tensor, snow: tuple[float, float, float, float, int, float, float], generator: torch.Generator) -> Tensor:
    """Falling flakes, twice, on a scene that they have whitened."""
    mean, spread, zoom, least, length, sigma, kept = snow
    drawn = torch.randn(len(x), 1, *x.shape[2:], generator=generator)
    flakes = enlarged(mean + spread * drawn, zoom)
    flakes = (torch.where(flakes < least, 0, flakes).clamp(0, 1) * 255).floor() / 255
    angle = (torch.rand(len(x), generator=generator) - 1.5) * math.pi / 2  # within 45 degrees of the vertical
    flakes = trail(flakes, length, sigma, angle).to(x.device)
    luma = torch.tensor(_LUMA, device=x.device).view(1, 3, 1, 1)
    grey = x if x.shape[1] == 1 else (x * luma).sum(1, keepdim=True)
    return kept * x + (1 - kept) * torch.maximum(x, 1.5 * grey + 0.5) + flakes + flakes.flip(2, 3)


def _fog(x: Tensor, fog: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Clouds over each image, and its brightest value kept."""
    thickness, decay = fog
    height, width = x.shape[2:]
    clouds = _plasma(len(x), 2 ** math.ceil(math.log2(max(height, width))), decay, generator)
    brightest = x.amax((1, 2, 3), keepdim=True)
    fogged = x + thickness * clouds[:, None, :height, :width].to(x.device)
    return fogged * brightest / (brightest + thickness)


def _plasma(count: int, side: int, decay: float, generator: torch.Generator) -> Tensor:
    """Fractal clouds by the diamond-square algorithm, which wraps around at the edges.

    Args:
        count: How many.
        side: In pixels, a power of two.
        decay: By which the height of the noise falls, twice, from each scale to the next.
        generator: On the CPU.

    Returns:
        (count, side, side), from 0 to 1.
    """
    clouds = torch.zeros(count, side, side)

    def fill(rows: slice, columns: slice, around: Tensor) -> None:
        noise = 2 * torch.rand(around.shape, generator=generator) - 1
        clouds[:, rows, columns] = around / 4 + height**2 * noise

    height, step = 100.0, side
    while step >= 2:
        corners, centres = slice(0, side, step), slice(step // 2, side, step)
        corner = clouds[:, corners, corners]
        across = corner + corner.roll(-1, 1)
        fill(centres, centres, across + across.roll(-1, 2))
        centre = clouds[:, centres, centres]
        fill(corners, centres, centre + centre.roll(1, 1) + corner + corner.roll(-1, 2))
        fill(centres, corners, centre + centre.roll(1, 2) + corner + corner.roll(-1, 1))
        step, height = step // 2, height / decay
    clouds -= clouds.amin((1, 2), keepdim=True)
    return clouds / clouds.amax((1, 2), keepdim=True)


def _brightness(x: Tensor, more: float, _: torch.Generator) -> Tensor:
    """The value of HSV raised, hue and saturation kept."""
    value = x.amax(1, keepdim=True)
    raised = (value + more).clamp_max(1)
    return torch.where(value > 0, x * raised / value.clamp_min(1e-6), raised)


TABLE = {
    "snow": Corruption(
        _snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "fog": Corruption(
        _fog,
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((0.4, 3), (0.7, 3), (1, 2.5), (1.5, 2), (2, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    "brightness": Corruption(
        _brightness, (0.05, 0.10, 0.15, 0.20, 0.30), (0.1, 0.2, 0.3, 0.4, 0.5), (0.1, 0.2, 0.3, 0.4, 0.5)
    ),
}
