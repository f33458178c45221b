"""ONNX in 8-bit integers, for onnxruntime: quantised after training, with the ranges that real images have."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...core.errors import StkdError
from ...runs.finished_run import FinishedRun
from ..captured import capture, quiet
from ..contract import INPUT
from ..format import Source, exporters
from ..int8.fake_quant import FakeQuantised
from ..int8.folding import folded, functional
from ..int8.graph import Ranges, quantised, quantised_tensors
from ..int8.qad import Tuned, tuned
from ..int8.ranges import calibrated
from ..int8.sensitivity import Answer, sensitivity
from .onnx import Onnx

__all__ = ["Int8Onnx"]

_TRIED = 100  # images that the layers are tried on


@exporters.register("int8-onnx", "ONNX in 8-bit integers, a quarter of the size, for onnxruntime on CPUs")
class Int8Onnx(Onnx):
    """Quantised and run by onnxruntime; the same answers on CPUs with and without 8-bit dot products.

    Args:
        qad: Epochs for which the model is trained with the roundings first; None quantises it as it is.

    Raises:
        StkdError: They are none.
    """

    title = "int8 ONNX"
    exact = False
    options = ("qad",)

    def __init__(self, qad: int | None = None) -> None:
        if qad is not None and qad < 1:
            raise StkdError(f"--qad must be at least 1 epoch, got {qad}")
        super().__init__()
        self.qad = qad
        self.tuned: Tuned | None = None
        self.ranges: Ranges = {}

    @classmethod
    def file_name(cls, stem: str) -> str:
        """Beside the file in float."""
        return f"{stem}.int8{cls.suffix}"

    def prepared(self, opened: FinishedRun, source: Source) -> Source:
        """The model trained with the roundings of its file, where that was asked for."""
        if self.qad is None:
            return source
        with quiet():
            program = capture(folded(source.program), opened.info)
        with tempfile.TemporaryDirectory() as folder:
            model, ranges = self._in_float(dataclasses.replace(source, program=program), Path(folder) / "float.onnx")
        rounded = quantised_tensors(quantised(model, ranges))
        student = FakeQuantised(functional(program), opened.info, {name: ranges[name] for name in rounded})
        self.tuned = tuned(opened, student, self.qad)
        self.ranges = {**ranges, **self.tuned.ranges}  # those of tensors that are not rounded are asked for too
        return dataclasses.replace(source, program=capture(self.tuned.model.eval(), opened.info))

    def _in_float(self, source: Source, file: Path) -> tuple[Any, Ranges]:
        """The ONNX model in float, with the shapes of its tensors, and the ranges that images have in it."""
        import onnx

        with quiet():
            super()._write(source, file)
            model = onnx.shape_inference.infer_shapes(onnx.load(file))
            return model, self.ranges or calibrated(file, source.calibration, source.contract.data)

    def _write(self, source: Source, file: Path) -> Mapping[str, Any]:
        import onnx

        model, ranges = self._in_float(source, file.with_suffix(".float.onnx"))
        whole = quantised(model, ranges)
        del whole.graph.value_info[:]  # shapes that runtimes find again
        onnx.checker.check_model(whole)
        file.write_bytes(whole.SerializeToString())
        images = torch.cat(list(source.calibration))
        images = images[:: max(1, len(images) // _TRIED)]
        found: dict[str, Any] = {"sensitivity": sensitivity(model, ranges, images, _answers)}
        return found | ({"training": self.tuned.record} if self.tuned else {})


def _answers(content: bytes) -> Answer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {INPUT: batch})[0]
