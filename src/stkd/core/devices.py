"""Devices: the best one there is, and what is fast on it."""

from __future__ import annotations

from typing import Any, Literal

import torch

__all__ = ["best_device", "fast_bfloat16", "plain_precision"]


def fast_bfloat16(device: torch.device) -> bool:
    """Whether bf16 arithmetic is faster than float32 on a device, rather than merely emulated."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # PyTorch may be kept from AVX-512, by ATEN_CPU_CAPABILITY, on a processor that has it.
    if device.type == "cpu" and torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "AVX2"):
        able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False


def plain_precision(device: torch.device) -> Literal["32", "bf16"]:
    """The arithmetic of a training that nothing was timed for: bf16 on a GPU that has it, else float32.

    On a CPU with bf16 some networks are faster in it and others, with depthwise convolutions, slower.
    """
    return "bf16" if device.type == "cuda" and fast_bfloat16(device) else "32"


def best_device() -> torch.device:
    """A CUDA device if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
