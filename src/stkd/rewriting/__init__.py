"""A model's graph rewritten for a CPU: the same results, to rounding, in less time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.fx import GraphModule

from . import depthwise, norms

__all__ = ["helps", "rewrite"]


def helps(module: nn.Module) -> bool:
    """Whether there is something to rewrite in a model, and it is on a CPU."""
    parameter = next(module.parameters(), None)
    layers = list(module.modules())
    return parameter is not None and parameter.device.type == "cpu" and (norms.helps(layers) or depthwise.helps(layers))


def rewrite(graph: GraphModule, inputs: Sequence[Tensor]) -> Callable[..., Any]:
    """A backend of torch.compile: the graph with its rewritten parts, run as it is.

    Raises:
        Exception: The operations in C++ cannot be compiled here.
    """
    norms.fuse(graph)
    depthwise.widen(graph)
    graph.graph.lint()
    graph.recompile()
    return graph.forward
