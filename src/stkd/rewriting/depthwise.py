"""Depthwise convolutions that oneDNN has no fast bf16 backward pass for, in float32."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.nn import functional as F

__all__ = ["helps", "widen"]


def helps(layers: Iterable[nn.Module]) -> bool:
    """Whether there is such a convolution."""
    return any(
        isinstance(one, nn.Conv2d) and _slow(one.weight.shape, one.stride, one.groups) and one.groups == one.in_channels
        for one in layers
    )


def widen(graph: GraphModule) -> None:
    """Compute them, under bf16 autocast, in float32; images, weights and results stay of the type that they have.

    oneDNN's backward passes in bf16 are slow for kernels of 5 pixels and for strides (on two cores with AVX512-BF16); a
    stride of 1 with 3 pixels is fast.
    """
    for node in graph.graph.nodes:
        if node.op != "call_function" or node.target not in (F.conv2d, torch.conv2d):
            continue
        images, weight, _, stride, _, _, groups = _arguments(*node.args, **node.kwargs)
        shape, channels = (one.meta["example_value"].shape for one in (weight, images))
        if groups == channels[1] and _slow(shape, stride, groups):
            node.target = _conv2d


def _slow(weight: Sequence[int], stride: Any, groups: int) -> bool:
    """Whether a convolution with one input channel a group is slow in bf16."""
    strides = (stride,) if isinstance(stride, int) else tuple(stride)
    return groups > 1 and weight[1] == 1 and (max(strides) > 1 or max(weight[2:]) > 3)


def _arguments(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> tuple[Any, ...]:
    return input, weight, bias, stride, padding, dilation, groups


def _conv2d(*args: Any, **kwargs: Any) -> Tensor:
    """torch.conv2d, in float32 where autocast would take bf16 and a backward pass will come."""
    bf16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    if not bf16 or not torch.is_grad_enabled():
        return F.conv2d(*args, **kwargs)
    images, weight, bias, *others = _arguments(*args, **kwargs)
    with torch.autocast("cpu", enabled=False):
        found = F.conv2d(images.float(), weight.float(), None if bias is None else bias.float(), *others)
    return found.bfloat16()
