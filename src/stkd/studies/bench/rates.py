"""What the device can do at most: its matrix-product rate and its memory bandwidth, measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from .clock import wait

__all__ = ["copy_rate", "product_rate"]


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product.

    Args:
        device: Where.
        dtype: In which arithmetic.
    """
    n = 1024 if device.type == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    return 2 * n**3 / _best(device, lambda: torch.mm(a, b))


def copy_rate(device: torch.device) -> float:
    """Bytes read and written per second by a copy larger than the caches."""
    source = torch.zeros(1 << 26, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / _best(device, lambda: target.copy_(source))


def _best(device: torch.device, call: Callable[[], object], runs: int = 6) -> float:
    times = []
    for _ in range(runs):
        wait(device)
        began = time.perf_counter()
        call()
        wait(device)
        times.append(time.perf_counter() - began)
    return min(times)
