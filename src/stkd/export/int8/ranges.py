"""The ranges of a model's activations on real images, by onnxruntime's own calibrators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.errors import StkdError
from ..contract import INPUT
from .graph import OPERATORS, Ranges

__all__ = ["calibrated"]

_PASS = 20  # images; onnxruntime keeps all activations of a pass
_PERCENTILE = 99.95


def calibrated(file: Path, images: Iterable[Tensor], data: str) -> Ranges:
    """Ranges of what the layers of an ONNX file take and give.

    Args:
        file: In float; a file beside it is written.
        images: Batches float32 (N, C, S, S) in 0..1.
        data: Where they come from, in words.

    Raises:
        StkdError: There are none.
    """
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    calibrator: Any = None
    for part in _passes(images):
        if calibrator is None:
            method, options = CalibrationMethod.Percentile, {"percentile": _PERCENTILE}
            beside = str(file.with_suffix(".observed.onnx"))
            calibrator = create_calibrator(file, list(OPERATORS), beside, method, extra_options=options)
        calibrator.collect_data(_Once(part))
    if calibrator is None:
        raise StkdError(
            f"int8 takes the ranges of activations from training images, and {data} has none; give --data one with "
            "training images"
        )
    found = calibrator.compute_data().items()
    return {name: (float(data.range_value[0]), float(data.range_value[1])) for name, data in found}


def _passes(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    for batch in batches:
        yield from torch.split(batch, _PASS)


class _Once:
    """A pass as onnxruntime reads it: the images, then None."""

    def __init__(self, images: Tensor) -> None:
        self.feeds = iter([{INPUT: images.contiguous().numpy()}])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.feeds, None)
