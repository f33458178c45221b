"""ExecuTorch's .pte files, for phones and small devices; the contract is what their method "stkd" returns."""

from __future__ import annotations

from ..elsewhere.format import Elsewhere
from ..format import exporters

__all__ = ["ExecuTorch"]


@exporters.register("executorch", "ExecuTorch's .pte with XNNPACK, for phones and small devices, one image at a time")
class ExecuTorch(Elsewhere):
    """Lowered to XNNPACK, run by ExecuTorch's runtime."""

    title = "ExecuTorch"
    suffix = ".pte"
    tool = "executorch"
    batch = 1
    packages = ("executorch==1.5.1", "torch==2.14.1")
