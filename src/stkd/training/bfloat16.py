"""bf16 for Fabric on a CPU, where several threads may be in a backward pass at a time."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal

import torch
from lightning_utilities import apply_to_collection
from torch import Tensor

from ..core.fabric import Precision

__all__ = ["BFloat16"]


class BFloat16(Precision):
    """What Fabric's "bf16-mixed" does, without a backward pass of its own, which bf16 does not need.

    Around such a one Fabric keeps a flag for the whole process, so that one thread's end would be another's error.
    """

    precision: Literal["bf16-mixed"] = "bf16-mixed"

    def forward_context(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", dtype=torch.bfloat16)

    def convert_input(self, data: Any) -> Any:
        return _floats_as(torch.bfloat16, data)

    def convert_output(self, data: Any) -> Any:
        return _floats_as(torch.get_default_dtype(), data)


def _floats_as(dtype: torch.dtype, data: Any) -> Any:
    return apply_to_collection(data, Tensor, lambda x: x.to(dtype) if x.is_floating_point() else x)
