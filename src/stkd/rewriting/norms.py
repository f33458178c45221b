"""Batch normalisation, the addition and the ReLU after it, as one operation of a model's graph."""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torch.nn import functional as F

from ..kernels import load_kernels

__all__ = ["fuse", "helps"]

_ADD = {operator.add, operator.iadd, torch.add, "add", "add_"}
_RELU = {F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"}


def helps(layers: Iterable[nn.Module]) -> bool:
    """Whether there is a layer that normalises by batches of images."""
    return any(isinstance(one, nn.BatchNorm2d) and one.affine for one in layers)


def fuse(graph: GraphModule) -> None:
    """Make batch normalisations operations of ours.

    Where a normalised tensor is used once, by an addition or by a ReLU, that becomes part of the operation. A tensor
    that something else looks at too, as a tap does, stays.

    Raises:
        Exception: The operations cannot be compiled here.
    """
    norms = [node for node in graph.graph.nodes if node.op == "call_function" and node.target is F.batch_norm]
    if norms:
        load_kernels()
    for node in norms:
        _fuse(graph, node)


def _fuse(graph: GraphModule, norm: Node) -> None:
    found = _arguments(norm)
    if found is None:
        return
    images, options = found
    last, added = norm, None
    if list(images.users) == [norm] and (sum_ := _only_user(last, _ADD)) is not None:
        # nothing else uses the images, so that they are the same at the place of the sum
        added = _other(sum_, last)
        last = sum_ if added is not None else last
    relu = _only_user(last, _RELU)
    with graph.graph.inserting_after(last):
        fused = graph.graph.call_function(torch.ops.stkd.batch_norm_act, (images, added, *options, relu is not None))
    fused.meta = dict((relu or last).meta)
    (relu or last).replace_all_uses_with(fused)
    for node in (relu, last, norm):
        if node is not None and not node.users and node in graph.graph.nodes:
            graph.graph.erase_node(node)


def _arguments(norm: Node) -> tuple[Node, tuple[Any, ...]] | None:
    """Images, and what the operation takes after the addend; None where the mode or momentum is not fixed."""

    def read(
        input: Any,
        running_mean: Any,
        running_var: Any,
        weight: Any = None,
        bias: Any = None,
        training: Any = False,
        momentum: Any = 0.1,
        eps: Any = 1e-5,
    ) -> tuple[Node, tuple[Any, ...]] | None:
        if not isinstance(training, bool) or not isinstance(momentum, float):
            return None
        return input, (weight, bias, running_mean, running_var, training, momentum, eps)

    return read(*norm.args, **norm.kwargs)


def _only_user(node: Node, kinds: set[Any]) -> Node | None:
    """The one node that uses this one, if it is of these kinds."""
    (user,) = node.users if len(node.users) == 1 else (None,)
    if user is None or user.op not in ("call_function", "call_method") or user.target not in kinds:
        return None
    return user


def _other(sum_: Node, term: Node) -> Node | None:
    """What is added to a term; None where the sum is of another kind, or changes what is added in place."""
    if len(sum_.args) != 2 or sum_.kwargs:
        return None
    first, second = sum_.args
    other = second if first is term else first
    in_place = sum_.target in (operator.iadd, "add_") and first is not term
    return other if isinstance(other, Node) and other is not term and not in_place else None
