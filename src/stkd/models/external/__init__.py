"""Models of other libraries, behind the prefix of their source; each library is imported at first use."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable

import torch
from torch import nn

from ...core.errors import StkdError, unknown
from . import hugging_face, timm_models, torchvision_models, transformers_models
from .hugging_face import hub_config, model_of_hub
from .spec import RESERVED, ModelSpec, check_keywords

__all__ = ["ModelSpec", "check_keywords", "create", "hub_config", "model_of_hub", "names"]

_SOURCES: dict[str, Callable[[ModelSpec], nn.Module]] = {
    "timm": timm_models.build,
    "torchvision": torchvision_models.build,
    "hf": hugging_face.build,
    "transformers": transformers_models.build,
}


def names(source: str) -> list[str]:
    """Every model name that a source ("timm" or "torchvision") knows, without its prefix."""
    return timm_models.names() if source == "timm" else torchvision_models.names()


def create(source: str, spec: ModelSpec) -> nn.Module:
    """Build a model of another library.

    Args:
        source: Name of the library, or "hf".
        spec: What is asked of it.

    Raises:
        StkdError: Unknown source, name or keyword, a model that does not fit, or weights that cannot be fetched.
    """
    if source not in _SOURCES:
        raise unknown("model source", source, _SOURCES)
    full_name = f"{source}/{spec.name}"
    for key in spec.options:
        if key in RESERVED:
            raise StkdError(f"{key} cannot be an option of {full_name}: stkd sets it itself, or has a flag for it")
    try:
        model = _SOURCES[source](spec)
        if spec.image_size is not None:
            _check(model, spec, spec.image_size)
    except StkdError:
        raise
    # Builders and hub clients raise any exception; to the user each means that the model cannot be built.
    except Exception as error:
        refused = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if isinstance(error, TypeError) and refused is not None and refused[1] in spec.options:
            check_keywords(full_name, {refused[1]: None}, _keywords_of(source, spec))
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        size = f" for images of {spec.image_size}x{spec.image_size}" if spec.image_size is not None else ""
        weights = " with pretrained weights (is the network reachable?)" if spec.pretrained else ""
        raise StkdError(f"cannot build {full_name}{size}{weights}: {reason}") from error
    return model


def _keywords_of(source: str, spec: ModelSpec) -> set[str]:
    """Keyword arguments of the class of a model, which are most of those that its factory takes."""
    with torch.device("meta"):
        model = _SOURCES[source](ModelSpec(spec.name, num_classes=2))
    return set(inspect.signature(type(model)).parameters) - RESERVED


def _check(model: nn.Module, spec: ModelSpec, size: int) -> None:
    """Run one black image, since only that tells whether a foreign model takes the size and returns logits."""
    model.eval()
    with torch.no_grad():
        logits = model(torch.zeros(1, spec.in_channels, size, size))
    model.train()
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if shape != (1, spec.num_classes):
        raise ValueError(f"its output for one image is {shape}, not logits of shape {(1, spec.num_classes)}")
