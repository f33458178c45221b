"""ONNX in 8-bit integers, for onnxruntime: quantised after training, with the ranges that real images have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..contract import INPUT
from ..format import Source, exporters
from ..int8.graph import quantised
from ..int8.ranges import calibrated
from ..int8.sensitivity import Answer, sensitivity
from .onnx import Onnx

__all__ = ["Int8Onnx"]

_SHOWN = 100  # images that the layers are tried on


@exporters.register("int8-onnx", "ONNX in 8-bit integers, a quarter of the size, for onnxruntime on CPUs")
class Int8Onnx(Onnx):
    """Quantised and run by onnxruntime; the same answers on CPUs with and without 8-bit dot products."""

    title = "int8 ONNX"
    exact = False
    options = ()

    @classmethod
    def file_name(cls, stem: str) -> str:
        """Beside the file in float."""
        return f"{stem}.int8{cls.suffix}"

    def _write(self, source: Source, file: Path) -> Mapping[str, Any]:
        import onnx

        exact = file.with_suffix(".float.onnx")
        super()._write(source, exact)
        ranges = calibrated(exact, source.calibration, source.contract.data)
        model = onnx.shape_inference.infer_shapes(onnx.load(exact))
        whole = quantised(model, ranges)
        del whole.graph.value_info[:]  # shapes that runtimes find again
        onnx.checker.check_model(whole)
        file.write_bytes(whole.SerializeToString())
        images = torch.cat(list(source.calibration))[::3][:_SHOWN]
        return {"sensitivity": sensitivity(model, ranges, images, _answers)}


def _answers(content: bytes) -> Answer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {INPUT: batch})[0]
