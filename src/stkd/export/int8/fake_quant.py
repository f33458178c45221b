"""A model that computes in float as its file does in integers: values are rounded to those that bytes can hold.

What is rounded is taken from the quantised file itself, so that what is trained is what the file does. The gradient
passes a rounding as if it were not there (Jacob et al., CVPR 2018), and stops where a value is cut off.
"""

from __future__ import annotations

import torch
from torch import Tensor, fx, nn

from ...core.errors import StkdError
from ...models.files import ModelInfo
from .graph import Ranges

__all__ = ["FakeQuantised"]

_LAYERS = (
    torch.ops.aten.conv2d.default,
    torch.ops.aten.conv2d.padding,
    torch.ops.aten.conv1d.default,
    torch.ops.aten.linear.default,
)
_WEIGHT_MOST, _ACTIVATION_MOST = 64, 255


class _Activation(nn.Module):
    """Rounds to 256 steps of a range."""

    scale: Tensor
    zero_point: Tensor

    def __init__(self, low: float, high: float) -> None:
        super().__init__()
        low, high = min(low, 0.0), max(high, 0.0)
        scale = (high - low) / _ACTIVATION_MOST or 1.0
        self.register_buffer("scale", torch.tensor(scale))
        self.register_buffer("zero_point", torch.tensor(round(-low / scale), dtype=torch.int32))

    def forward(self, values: Tensor) -> Tensor:
        return torch.fake_quantize_per_tensor_affine(values, self.scale, self.zero_point, 0, _ACTIVATION_MOST)

    @property
    def range(self) -> tuple[float, float]:
        scale, zero_point = float(self.scale), int(self.zero_point)
        return -zero_point * scale, (_ACTIVATION_MOST - zero_point) * scale


class _Weight(nn.Module):
    """Rounds each output channel to 129 steps, symmetric about zero."""

    def forward(self, weight: Tensor) -> Tensor:
        scale = _scale_of(weight)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -_WEIGHT_MOST, _WEIGHT_MOST)


class _Bias(nn.Module):
    """Rounds to the steps that products of weights and activations have."""

    def forward(self, bias: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        steps = scale * _scale_of(weight)
        return bias + (torch.round(bias / steps) * steps - bias).detach()


def _scale_of(weight: Tensor) -> Tensor:
    scale = weight.detach().flatten(1).abs().amax(1) / _WEIGHT_MOST
    return torch.where(scale > 0, scale, torch.ones_like(scale))


class FakeQuantised(nn.Module):
    """A model with the roundings of its quantised file, from normalised images to logits.

    Args:
        graph: The model, from images in 0..1 to logits, see `folding.functional`; it is changed.
        info: The normalisation that it does itself.
        ranges: Of the tensors that the file quantises, by their names in the graph.

    Raises:
        StkdError: The graph has no tensor of a name.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, graph: fx.GraphModule, info: ModelInfo, ranges: Ranges) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(info.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(info.std).view(1, -1, 1, 1), persistent=False)
        self.names = _insert(graph, ranges)
        self.graph = graph

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.graph(images * self.std + self.mean)
        return logits

    def ranges(self) -> dict[str, tuple[float, float]]:
        """Of the tensors that are rounded."""
        places = ((name, self.graph.get_submodule(place)) for name, place in self.names.items())
        return {name: place.range for name, place in places if isinstance(place, _Activation)}

    def exact(self) -> fx.GraphModule:
        """The model without roundings, from images in 0..1 to logits; this one is of no use afterwards."""
        for node in list(self.graph.graph.nodes):
            if node.op == "call_module" and node.target.startswith(_PREFIX):
                node.replace_all_uses_with(node.args[0])
                self.graph.graph.erase_node(node)
        self.graph.delete_all_unused_submodules()
        self.graph.recompile()
        return self.graph


_PREFIX = "rounded_"


def _insert(graph: fx.GraphModule, ranges: Ranges) -> dict[str, str]:
    """Put roundings behind tensors and weights; the submodules' names by those of the tensors."""
    nodes = {node.name: node for node in graph.graph.nodes}
    names = {}
    if missing := sorted(ranges.keys() - nodes.keys()):
        raise StkdError(f"--qad cannot train this model: nothing in it is the file's {missing[0]!r}; export it without")
    for name, (low, high) in ranges.items():
        _behind(graph, nodes[name], f"{_PREFIX}{name}", _Activation(low, high))
        names[name] = f"{_PREFIX}{name}"
    for node in nodes.values():
        if node.target in _LAYERS and isinstance(weight := node.args[1], fx.Node) and weight.op == "get_attr":
            _round_layer(graph, node, weight)
    graph.graph.lint()
    graph.recompile()
    return names


def _round_layer(graph: fx.GraphModule, layer: fx.Node, weight: fx.Node) -> None:
    source, _, *rest = layer.args
    if rest and isinstance(bias := rest[0], fx.Node) and isinstance(source, fx.Node) and source.op == "call_module":
        with graph.graph.inserting_before(layer):
            scale = graph.graph.get_attr(f"{source.target}.scale")
        _behind(graph, bias, f"{_PREFIX}{bias.name}", _Bias(), weight, scale)
    _behind(graph, weight, f"{_PREFIX}{weight.name}", _Weight())


def _behind(graph: fx.GraphModule, node: fx.Node, name: str, module: nn.Module, *others: fx.Node) -> None:
    graph.add_submodule(name, module)
    with graph.graph.inserting_after(others[-1] if others else node):
        rounded = graph.graph.call_module(name, (node, *others))
    node.replace_all_uses_with(rounded, delete_user_cb=lambda user: user is not rounded)
