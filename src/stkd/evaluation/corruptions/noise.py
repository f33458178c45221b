"""Noise of a camera's sensor."""

from __future__ import annotations

import torch
from torch import Tensor

from .filters import Corruption

__all__ = ["TABLE"]


def _gaussian_noise(x: Tensor, scale: float, generator: torch.Generator) -> Tensor:
    return x + scale * torch.randn(x.shape, generator=generator).to(x.device)


def _shot_noise(x: Tensor, photons: float, generator: torch.Generator) -> Tensor:
    return (torch.poisson((x * photons).cpu(), generator=generator) / photons).to(x.device)


def _impulse_noise(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Salt and pepper, each channel on its own."""
    chance = torch.rand(x.shape, generator=generator).to(x.device)
    return torch.where(chance < share, (chance < share / 2).float(), x)


TABLE = {
    "gaussian_noise": Corruption(
        _gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10), (0.04, 0.08, 0.12, 0.15, 0.18), (0.08, 0.12, 0.18, 0.26, 0.38)
    ),
    "shot_noise": Corruption(_shot_noise, (500, 250, 100, 75, 50), (250, 100, 50, 30, 15), (60, 25, 12, 5, 3)),
    "impulse_noise": Corruption(
        _impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07), (0.01, 0.02, 0.05, 0.08, 0.14), (0.03, 0.06, 0.09, 0.17, 0.27)
    ),
}
