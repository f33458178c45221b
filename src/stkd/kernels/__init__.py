"""Operations in C++ for the CPU, compiled once on each machine: torch.ops.stkd."""

from __future__ import annotations

from .build import load_kernels

__all__ = ["load_kernels"]
