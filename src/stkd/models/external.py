"""Models of other libraries, behind the prefix of their source; each library is imported when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ..core.errors import StkdError, unknown

__all__ = ["create", "names"]

AUXILIARY = ("googlenet", "inception_v3")
"""Models of torchvision that return more than logits in training."""


def names(source: str) -> list[str]:
    """Every model name that a source ("timm" or "torchvision") knows, without its prefix."""
    if source == "timm":
        import timm

        return list(timm.list_models())
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def create(
    source: str, name: str, num_classes: int, in_channels: int, image_size: int | None, pretrained: bool
) -> nn.Module:
    """Build a model of another library; the arguments are those of `stkd.models.create`.

    Raises:
        StkdError: Unknown source or name, a model that does not fit, or weights that cannot be fetched.
    """
    if source not in _SOURCES:
        raise unknown("model source", source, _SOURCES)
    full_name = f"{source}/{name}"
    try:
        model = _SOURCES[source](name, num_classes, in_channels, image_size, pretrained)
        if image_size is not None:
            _check(model, num_classes, in_channels, image_size)
    except StkdError:
        raise
    # Builders and hub clients raise whatever they like; to the user each means that this model is not to be had.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        size = f" for images of {image_size}x{image_size}" if image_size is not None else ""
        weights = " with pretrained weights (is the network reachable?)" if pretrained else ""
        raise StkdError(f"cannot build {full_name}{size}{weights}: {reason}") from error
    return model


def _check(model: nn.Module, num_classes: int, in_channels: int, image_size: int) -> None:
    """Run one black image, since only that tells whether a foreign model takes the size and returns logits."""
    model.eval()
    with torch.no_grad():
        logits = model(torch.zeros(1, in_channels, image_size, image_size))
    model.train()
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if shape != (1, num_classes):
        raise ValueError(f"its output for one image is {shape}, not logits of shape {(1, num_classes)}")


def _timm(name: str, num_classes: int, in_channels: int, image_size: int | None, pretrained: bool) -> nn.Module:
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise unknown("timm model", architecture, names("timm"))
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise unknown(f"weights of timm/{architecture}", tag, tags)
    options: dict[str, Any] = {}
    if image_size is not None and timm.models.get_pretrained_cfg_value(architecture, "fixed_input_size"):
        options["img_size"] = image_size
    model: nn.Module = timm.create_model(
        name, pretrained=pretrained, num_classes=num_classes, in_chans=in_channels, **options
    )
    return model


def _hugging_face(name: str, num_classes: int, in_channels: int, image_size: int | None, pretrained: bool) -> nn.Module:
    import timm

    # What the repository holds is known only after its configuration is fetched, hence no image size here.
    model: nn.Module = timm.create_model(
        f"hf-hub:{name}", pretrained=pretrained, num_classes=num_classes, in_chans=in_channels
    )
    return model


def _torchvision(name: str, num_classes: int, in_channels: int, image_size: int | None, pretrained: bool) -> nn.Module:
    import torchvision

    if name not in names("torchvision"):
        raise unknown("torchvision model", name, names("torchvision"))
    if name in AUXILIARY:
        raise StkdError(
            f"torchvision/{name} returns auxiliary outputs in training; choose a model that returns logits alone, "
            "such as timm/inception_v3"
        )
    options: dict[str, Any] = {}
    if image_size is not None and name.startswith("vit_"):
        options["image_size"] = image_size
    if image_size is not None and name.startswith("maxvit_"):
        options["input_size"] = (image_size, image_size)
    if pretrained:
        # torchvision would unpickle anything; fetched and read safely once, the file is known to hold tensors alone.
        torchvision.models.get_model_weights(name).DEFAULT.get_state_dict(check_hash=True, weights_only=True)
    else:
        options["num_classes"] = num_classes
    model: nn.Module = torchvision.models.get_model(name, weights="DEFAULT" if pretrained else None, **options)
    if pretrained:
        _replace_head(model, num_classes)
    if in_channels != 3:
        _replace_stem(model, in_channels)
    return model


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


_Builder = Callable[[str, int, int, int | None, bool], nn.Module]

_SOURCES: dict[str, _Builder] = {"timm": _timm, "torchvision": _torchvision, "hf": _hugging_face}
