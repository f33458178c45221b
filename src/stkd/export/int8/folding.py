"""A captured model as a module that can be trained, its batch normalisations folded into the convolutions before them.

What is trained has to be what is quantised: the exported graph has no batch normalisation left.
"""

from __future__ import annotations

import copy
import operator

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.nn.utils.fusion import fuse_conv_bn_weights

__all__ = ["folded", "functional"]

_CONVOLUTIONS = (torch.ops.aten.conv2d.default, torch.ops.aten.conv1d.default)
_BATCH_NORM = torch.ops.aten._native_batch_norm_legit_no_training.default


def functional(program: ExportedProgram) -> fx.GraphModule:
    """A captured model as a module of functions without side effects, under the names that its ONNX file has.

    Unlike the module that torch makes of a program, it has weights of its own and can be put into training mode.
    """
    module = copy.deepcopy(program.run_decompositions({}).module(check_guards=False))  # it shares the model's weights
    for node in module.graph.nodes:
        if node.target is torch.ops.aten.adaptive_avg_pool2d.default and list(node.args[1]) == [1, 1]:
            node.target, node.args = torch.ops.aten.mean.dim, (node.args[0], [-1, -2], True)  # as ONNX has it
    return fx.GraphModule(module, module.graph)


def folded(program: ExportedProgram) -> fx.GraphModule:
    """A captured model as a module that computes the same without the batch normalisations that follow convolutions."""
    module = functional(program)
    for node in list(module.graph.nodes):
        if node.target is _BATCH_NORM and _folds(node):
            _fold(module, node)
    module.graph.lint()
    module.recompile()
    return module


def _folds(norm: fx.Node) -> bool:
    convolution = norm.args[0]
    return (
        isinstance(convolution, fx.Node)
        and convolution.target in _CONVOLUTIONS
        and len(convolution.users) == 1
        and _parameter(convolution.args[1])
        and all(user.target is operator.getitem and user.args[1] == 0 for user in norm.users)
    )


def _parameter(node: object) -> bool:
    return isinstance(node, fx.Node) and node.op == "get_attr" and len(node.users) == 1


def _fold(module: fx.GraphModule, norm: fx.Node) -> None:
    convolution, *affine, _, eps = norm.args
    assert isinstance(convolution, fx.Node)
    assert isinstance(eps, float)
    weight_of, bias_of = convolution.args[1], convolution.args[2] if len(convolution.args) > 2 else None
    assert isinstance(weight_of, fx.Node)
    name = str(weight_of.target)
    gamma, beta, mean, variance = (None if a is None else _value(module, a) for a in affine)
    assert mean is not None
    assert variance is not None
    before = _value(module, weight_of), None if bias_of is None else _value(module, bias_of)
    weight, bias = fuse_conv_bn_weights(*before, mean, variance, eps, gamma, beta)
    layer = name.rpartition(".")[0]
    owner = module.get_submodule(layer)
    owner.weight, owner.bias = nn.Parameter(weight.detach().clone()), nn.Parameter(bias.detach().clone())
    with module.graph.inserting_before(convolution):
        bias_node = module.graph.get_attr(f"{layer}.bias" if layer else "bias")
    convolution.args = (*convolution.args[:2], bias_node, *convolution.args[3:])
    for user in list(norm.users):
        user.replace_all_uses_with(convolution)
        module.graph.erase_node(user)
    module.graph.erase_node(norm)
    for used in affine:
        if isinstance(used, fx.Node) and not used.users:
            module.graph.erase_node(used)


def _value(module: fx.GraphModule, node: object) -> torch.Tensor:
    assert isinstance(node, fx.Node)
    value = module
    for part in str(node.target).split("."):
        value = getattr(value, part)
    assert isinstance(value, torch.Tensor)
    return value
