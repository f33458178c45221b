"""ONNX, for onnxruntime and whatever else reads it; the contract stands in its metadata_props."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..contract import INPUT, KEY, OUTPUT, Contract
from ..format import Format, Opened, Source, exporters

__all__ = ["Onnx"]


@exporters.register("onnx", "ONNX, one file for onnxruntime on every platform")
class Onnx(Format):
    """Written by torch's exporter, run by onnxruntime on the CPU."""

    title = "ONNX"
    suffix = ".onnx"
    extra = "onnx"
    writers = ("onnx", "onnxscript", "onnxruntime")
    runners = ("onnxruntime",)

    def _write(self, source: Source, file: Path) -> Mapping[str, Any] | None:
        import onnx

        names: dict[str, Any] = {"input_names": [INPUT], "output_names": [OUTPUT]}
        written = torch.onnx.export(source.program, dynamo=True, verbose=False, **names)
        assert written is not None
        model = written.model_proto
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        # shapes that runtimes find again, and names of the source's classes
        del model.graph.value_info[:]
        for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
            del part.metadata_props[:]
        onnx.helper.set_model_props(model, {KEY: source.contract.text()})
        onnx.checker.check_model(model)
        file.write_bytes(model.SerializeToString())
        return None

    def _open(self, file: Path, threads: int) -> Opened:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4  # errors are raised besides
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        contract = Contract.read(session.get_modelmeta().custom_metadata_map.get(KEY), file)
        (images,), (logits,) = session.get_inputs(), session.get_outputs()
        contract.check(file, tuple(images.shape[1:]), logits.shape[-1])

        def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
            answer: NDArray[np.float32] = session.run([logits.name], {images.name: batch})[0]
            return answer

        return Opened(contract, run, f"onnxruntime {onnxruntime.__version__}")
