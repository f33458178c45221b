"""LiteRT's (TensorFlow Lite's) .tflite files, for Android and small devices; the contract is in their metadata."""

from __future__ import annotations

from ..elsewhere.format import Elsewhere
from ..format import exporters

__all__ = ["LiteRt"]


@exporters.register("litert", "LiteRT's .tflite, for Android and small devices, one image at a time")
class LiteRt(Elsewhere):
    """Converted by litert-torch, run by ai-edge-litert."""

    title = "LiteRT"
    suffix = ".tflite"
    tool = "litert"
    packages = ("litert-torch==0.10.0", "torch==2.14.1")
    batch = 1
