"""ONNX, for onnxruntime and whatever else reads it; the contract stands in its metadata_props."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from ..contract import INPUT, KEY, OUTPUT, Contract
from ..format import Format, Opened, Source, exporters
from ..resizing import PICTURE

__all__ = ["Onnx"]


@exporters.register("onnx", "ONNX, one file for onnxruntime on every platform")
class Onnx(Format):
    """Written by torch's exporter, run by onnxruntime on the CPU.

    Args:
        whole_pictures: Whether resizing is inside the file.
    """

    title = "ONNX"
    suffix = ".onnx"
    extra = "onnx"
    writers = ("onnx", "onnxscript", "onnxruntime")
    runners = ("onnxruntime",)
    options: ClassVar[tuple[str, ...]] = ("whole_pictures",)

    def __init__(self, whole_pictures: bool = False) -> None:
        self.whole_pictures = whole_pictures

    def _write(self, source: Source, file: Path) -> Mapping[str, Any] | None:
        import onnx

        whole = source.contract.whole
        names: dict[str, Any] = {"input_names": [PICTURE if whole else INPUT], "output_names": [OUTPUT]}
        written = torch.onnx.export(source.program, dynamo=True, verbose=False, **names)
        assert written is not None
        model = written.model_proto
        for value in () if whole else (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
        for place, side in enumerate(("height", "width") if whole else ()):
            model.graph.input[0].type.tensor_type.shape.dim[place].dim_param = side
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
        contract.check(file, tuple(images.shape[2 if contract.whole else 1 :]), logits.shape[-1])

        def run(shown: NDArray[Any]) -> NDArray[np.float32]:
            answer: NDArray[np.float32] = session.run([logits.name], {images.name: shown})[0]
            return answer

        return Opened(contract, run, f"onnxruntime {onnxruntime.__version__}", run if contract.whole else None)
