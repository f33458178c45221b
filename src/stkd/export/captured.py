"""A model as one graph, from images scaled to 0..1 to logits: what every format is written from."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from ..core.errors import StkdError
from ..models.files import ModelInfo
from .resizing import PICTURE, Whole

__all__ = ["Normalised", "capture", "capture_whole", "layer_without_operator", "quiet"]


_LARGEST = 2**20
"""Pixels of a picture's side."""


class Normalised(nn.Module):
    """A model that is given images scaled to 0..1 and normalises them itself.

    Args:
        model: From normalised images (N, C, S, S) to logits; it is put into evaluation mode.
        info: What it expects.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, model: nn.Module, info: ModelInfo) -> None:
        super().__init__()
        self.model = model
        for name, values in (("pixel_mean", info.mean), ("pixel_std", info.std)):
            self.register_buffer(name, torch.tensor(values).view(1, -1, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model((images - self.pixel_mean) / self.pixel_std)
        return logits


def capture(model: nn.Module, info: ModelInfo) -> ExportedProgram:
    """The graph of a model, for any number of images; nothing in it tells of the machine.

    Args:
        model: From images scaled to 0..1 to logits, in evaluation mode.
        info: What it expects.

    Raises:
        StkdError: The model branches on its values, or works for one number of images only.
    """
    example = torch.zeros(2, info.channels, info.size, info.size)  # torch takes one image for a constant
    return _captured(model, example, {"images": {0: Dim("batch", min=1)}}, info)


def capture_whole(model: Normalised, info: ModelInfo) -> ExportedProgram:
    """The graph of a model with the resizing before it, for one picture uint8 (H, W, C) of any size.

    Raises:
        StkdError: As `capture`.
    """
    example = torch.zeros(info.size + 5, info.size + 8, info.channels, dtype=torch.uint8)
    sides = {0: Dim("height", min=1, max=_LARGEST), 1: Dim("width", min=1, max=_LARGEST)}
    return _captured(Whole(model, info), example, {PICTURE: sides}, info)


def _captured(model: nn.Module, example: Tensor, dynamic: dict[str, Any], info: ModelInfo) -> ExportedProgram:
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(model, (example,), dynamic_shapes=dynamic, strict=False)
    except Exception as error:  # of many kinds
        why = " ".join(str(error).split())
        if "specialized it to be a constant" in why:
            why = "it works for one number of images alone"
        elif "data-dependent" in why:
            why = "it does other things for other images (a branch on a tensor's value)"
        raise StkdError(f"the {info.model} cannot be exported: {why[:200]}") from None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # with the paths of the source
    return program


def layer_without_operator(program: ExportedProgram, message: str) -> str | None:
    """Which operator of which layer an exporter's message names first, in words; None if it names none.

    Args:
        program: The graph that was to be exported.
        message: What the exporter said.
    """
    for graph in (program, program.run_decompositions()):
        for node in graph.graph.nodes:
            name = ".".join(str(node.target).split(".")[:2])
            if node.op == "call_function" and re.search(rf"{re.escape(name)}\b", message):
                layers = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values()]
                layer = layers[-1].removeprefix("model").lstrip(".") if layers else ""
                return f"it has no operator {name}, which {f'the layer {layer}' if layer else 'the model'} needs"
    return None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Exporters tell their steps; nothing of that is for the user."""
    disabled, said = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
