"""Devices: the best one there is, and what is fast on it."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["best_device", "fast_bfloat16"]


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bf16 arithmetic is faster than float32 on a device, rather than merely emulated."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False


def best_device() -> torch.device:
    """A CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
