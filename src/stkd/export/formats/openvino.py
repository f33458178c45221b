"""OpenVINO's IR, for CPUs: an .xml file with the graph and the contract, and a .bin file with the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.telemetry import no_openvino_telemetry
from ..contract import INPUT, KEY, OUTPUT, Contract
from ..format import Format, Opened, Source, exporters

__all__ = ["OpenVino"]


@exporters.register("openvino", "OpenVINO IR, an .xml and a .bin file for CPUs")
class OpenVino(Format):
    """Written and run by OpenVINO, in float32."""

    title = "OpenVINO"
    suffix = ".xml"
    extra = "openvino"
    writers = ("openvino",)
    runners = ("openvino",)

    @classmethod
    def parts(cls, file: Path) -> tuple[Path, ...]:
        """The weights and the graph."""
        return (file.with_suffix(".bin"), file)

    def _write(self, source: Source, file: Path) -> None:
        no_openvino_telemetry()
        import openvino

        info = source.contract.info
        model = openvino.convert_model(source.program)
        model.reshape([-1, info.channels, info.size, info.size])
        model.input(0).set_names({INPUT})
        model.output(0).set_names({OUTPUT})
        model.set_rt_info(source.contract.text(), [KEY])
        openvino.save_model(model, file, compress_to_fp16=False)

    def _open(self, file: Path, threads: int) -> Opened:
        no_openvino_telemetry()
        import openvino

        core = openvino.Core()
        model = core.read_model(file)
        contract = Contract.read(model.get_rt_info([KEY]).astype(str) if model.has_rt_info([KEY]) else None, file)
        shape, outputs = model.input(0).get_partial_shape(), model.output(0).get_partial_shape()
        lengths = [d.get_length() if d.is_static else None for d in (*shape, *outputs)]
        contract.check(file, tuple(lengths[1:4]), lengths[-1])
        options: dict[str, Any] = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        options["INFERENCE_PRECISION_HINT"] = "f32"  # else some CPUs answer in bf16
        options["ENABLE_CPU_PINNING"] = False
        request = core.compile_model(model, "CPU", options).create_infer_request()

        def run(batch: NDArray[np.float32]) -> NDArray[np.float32]:
            request.infer({0: batch})
            answer: NDArray[np.float32] = request.get_output_tensor(0).data.copy()  # the next pass writes there too
            return answer

        return Opened(contract, run, f"OpenVINO {openvino.__version__.partition('-')[0]}")
