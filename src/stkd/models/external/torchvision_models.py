"""Models of torchvision, by its names."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import nn

from ...core.errors import StkdError, unknown
from .. import hub
from .spec import ModelSpec

__all__ = ["AUXILIARY", "build", "names"]

AUXILIARY = ("googlenet", "inception_v3")
"""Models that return more than logits in training."""


def names() -> list[str]:
    """Every classifier that torchvision knows."""
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def build(spec: ModelSpec) -> nn.Module:
    """The model that a specification names.

    Raises:
        StkdError: Unknown name, a model that returns more than logits, or weights that cannot be fetched.
        ValueError: Its head cannot be replaced.
    """
    import torchvision

    name, size = spec.name, spec.image_size
    if name not in names():
        raise unknown("torchvision model", name, names())
    if name in AUXILIARY:
        raise StkdError(
            f"torchvision/{name} returns auxiliary outputs in training; choose a model that returns logits alone, "
            "such as timm/inception_v3"
        )
    options: dict[str, Any] = {}
    if size is not None and name.startswith("vit_"):
        options["image_size"] = size
    if size is not None and name.startswith("maxvit_"):
        options["input_size"] = (size, size)
    if spec.pretrained:
        _check_weights(name)
        options["weights"] = "DEFAULT"
    else:
        options |= {"weights": None, "num_classes": spec.num_classes}
    model: nn.Module = torchvision.models.get_model(name, **options | dict(spec.options))
    if spec.pretrained:
        _replace_head(model, spec.num_classes)
    if spec.in_channels != 3:
        _replace_stem(model, spec.in_channels)
    return model


def _check_weights(name: str) -> None:
    """Fetch published weights and read them safely once: torchvision itself would unpickle anything."""
    import torchvision

    weights = torchvision.models.get_model_weights(name).DEFAULT
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(weights.url).path).name
    if not file.is_file() and not hub.reachable(weights.url):
        raise hub.unreachable(f"torchvision/{name}", weights.url)
    weights.get_state_dict(check_hash=True, weights_only=True)


def _replace_head(model: nn.Module, num_classes: int) -> None:
    linears = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linears:
        raise ValueError("its last layer is not linear, so that it cannot be replaced")
    name, head = linears[-1]
    if head.out_features != num_classes:
        model.set_submodule(name, nn.Linear(head.in_features, num_classes))


def _replace_stem(model: nn.Module, in_channels: int) -> None:
    """Make the first convolution take `in_channels`, each in the place of the mean colour."""
    stem = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    grey = stem.weight.detach().mean(1, keepdim=True) * (stem.in_channels / in_channels)
    stem.weight = nn.Parameter(grey.repeat(1, in_channels, 1, 1))
    stem.in_channels = in_channels
