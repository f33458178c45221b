"""A model's forward pass on a CPU by OpenVINO: for a frozen teacher, without gradients or hooks."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..core.devices import fast_bfloat16
from ..core.errors import StkdError
from ..core.telemetry import no_openvino_telemetry

__all__ = ["Engine", "EnginePrecision", "can_run", "named"]

EnginePrecision = Literal["32", "bf16", "int8"]
_LAYERS = ("Convolution", "GroupConvolution", "MatMul")
_NEEDS = {"32": ("openvino",), "bf16": ("openvino",), "int8": ("openvino", "nncf")}


def can_run(precision: EnginePrecision) -> bool:
    """Whether the packages that this takes are installed."""
    return all(importlib.util.find_spec(name) is not None for name in _NEEDS[precision])


class Engine:
    """A compiled forward pass; called like the model that it was made from.

    Int8 is post-training quantisation by NNCF: weights per channel, activations per tensor, their ranges and the
    correction of the biases from sample images. The first convolution and the classifier stay in bf16, or float32 where
    bf16 is slow: they take little time, and much of the error comes from them.

    Args:
        module: The model, in evaluation mode on the CPU; it stays as it is.
        precision: "32" (float32), "bf16" or "int8".
        batches: Images (B, C, H, W) as the model will see them, all of one shape; the more, the better the ranges.

    Raises:
        StkdError: A package is missing, or the model cannot be converted.
    """

    def __init__(self, module: nn.Module, precision: EnginePrecision, batches: Sequence[Tensor]) -> None:
        if not can_run(precision):
            raise StkdError(f"a teacher by OpenVINO in {named(precision)} needs packages: pip install 'stkd[openvino]'")
        no_openvino_telemetry()
        import openvino

        self.shape = tuple(batches[0].shape)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of tracing, on its way out in torch
                model = openvino.convert_model(module, example_input=batches[0], input=[list(self.shape)])
                model = _quantised(model, batches) if precision == "int8" else model
            options: dict[str, Any] = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
            exact = precision == "32" or (precision == "int8" and not fast_bfloat16(torch.device("cpu")))
            options["INFERENCE_PRECISION_HINT"] = "f32" if exact else "bf16"  # of what is not int8
            options["ENABLE_CPU_PINNING"] = False  # other runs, and torch's threads, would be held on the same cores
            self._request: Any = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
        except Exception as error:  # OpenVINO and NNCF raise many kinds
            raise StkdError(f"OpenVINO cannot take this teacher: {' '.join(str(error).split())[:200]}") from None

    def __call__(self, images: Tensor) -> Tensor:
        """Logits float32 (B, classes) of images (B, C, H, W) of the shape that it was made for."""
        import openvino

        self._request.infer({0: openvino.Tensor(images.float().contiguous().numpy(), shared_memory=True)})
        # the next pass writes to the same place
        return torch.from_numpy(self._request.get_output_tensor(0).data.copy())

    def close(self) -> None:
        """Free it; of several engines the last made has to be the first (see `stkd.teachers.engines.release`)."""
        self._request = None


def named(precision: str) -> str:
    """A precision as messages call it."""
    return f"float{precision}" if precision.isdigit() else precision


def _quantised(model: Any, batches: Sequence[Tensor]) -> Any:
    import logging

    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # says that there is no CUDA, in vain
    import nncf

    logging.getLogger("nncf").setLevel(logging.ERROR)
    samples = nncf.Dataset([batch.contiguous().numpy() for batch in batches])
    layers = [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() in _LAYERS]
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        return nncf.quantize(
            model,
            samples,
            preset=nncf.QuantizationPreset.MIXED,
            fast_bias_correction=False,  # the fast one leaves twice the error
            subset_size=len(batches),
            ignored_scope=nncf.IgnoredScope(names=[layers[0], layers[-1]]),
        )
