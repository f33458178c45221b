"""Where a graph is quantised, by onnxruntime's own quantiser: weights and activations that layers take and give.

Weights are signed bytes of which 7 bits are used, activations unsigned bytes. CPUs without 8-bit dot products (VNNI)
add pairs of products in 16 bits: 255 x 64 + 255 x 64 fits, 255 x 127 + 255 x 127 would be cut off.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

__all__ = ["OPERATORS", "Ranges", "layers", "quantised", "quantised_tensors"]

Ranges = Mapping[str, tuple[float, float]]
"""Smallest and largest value of tensors by name."""

_LAYERS = ("Conv", "Gemm", "MatMul")
_ABSORBED = ("Relu", "Clip")
OPERATORS = (*_LAYERS, *_ABSORBED, "Add")
"""Operators that are computed in integers."""


def layers(graph: Any) -> dict[str, str]:
    """The layers with weights of a graph.

    Args:
        graph: An onnx.GraphProto in float.

    Returns:
        For each the name that it has in the model, and that of its node.
    """
    weights = {weight.name for weight in graph.initializer if len(weight.dims) >= 2}
    found = {}
    for node in graph.node:
        if node.op_type in _LAYERS and node.input[1] in weights:
            name = node.input[1].removeprefix("model.").removesuffix(".weight")
            found[name if name not in found and not name.startswith("val_") else node.name] = node.name
    return found


def quantised(model: Any, ranges: Ranges, *, only: Collection[str] = (), per_channel: bool = True) -> Any:
    """A graph with its layers in integers.

    Args:
        model: An onnx.ModelProto in float, with the shapes of its tensors.
        ranges: Of all tensors that operators in integers take or give.
        only: Names of the nodes that are quantised; empty for all.
        per_channel: Whether each output channel of a weight has a scale of its own.
    """
    from onnxruntime.quantization import CalibrationMethod, QDQQuantizer, QuantType, TensorsData

    data = TensorsData(CalibrationMethod.MinMax, {n: (np.float32(a), np.float32(b)) for n, (a, b) in ranges.items()})
    in_integers = set(layers(model.graph).values())
    # a product of two activations is no layer
    others = [node.name for node in model.graph.node if node.op_type in _LAYERS and node.name not in in_integers]
    options = {
        "WeightSymmetric": True,
        "OpTypesToExcludeOutputQuantization": ["Gemm", "MatMul"],  # they give floats, such as logits
    }
    quantizer = QDQQuantizer(
        copy.deepcopy(model),
        per_channel,
        True,
        QuantType.QInt8,
        QuantType.QUInt8,
        data,
        list(only),
        others,
        list(OPERATORS),
        options,
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    return quantizer.model.model


def quantised_tensors(model: Any) -> set[str]:
    """Names of the activations that a quantised graph rounds."""
    return {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
