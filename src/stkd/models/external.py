"""Models of other libraries, behind the prefix of their source; each library is imported at first use."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
from torch import nn

from ..core.errors import StkdError, unknown
from . import hub, transformers_models
from .names import hub_folder, split_name

__all__ = ["check_keywords", "create", "hub_config", "model_of_hub", "names", "timm_keywords"]

AUXILIARY = ("googlenet", "inception_v3")
"""Models of torchvision that return more than logits in training."""

RESERVED = frozenset(
    {"num_classes", "in_chans", "in_channels"}
    | {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_model_args", "pretrained_strict"}
    | {"checkpoint_path", "cache_dir", "weights", "weights_backbone", "progress"}
    | {"features_only", "scriptable", "exportable", "no_jit", "device", "dtype"}
)
"""Keyword arguments that stkd sets itself, that fetch or read weights, or after which a model is no classifier."""


def names(source: str) -> list[str]:
    """Every model name that a source ("timm" or "torchvision") knows, without its prefix."""
    if source == "timm":
        import timm

        return list(timm.list_models())
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def create(
    source: str,
    name: str,
    num_classes: int,
    in_channels: int,
    image_size: int | None,
    pretrained: bool,
    options: Mapping[str, Any],
) -> nn.Module:
    """Build a model of another library; the arguments are those of `stkd.models.create`.

    Raises:
        StkdError: Unknown source, name or keyword, a model that does not fit, or weights that cannot be fetched.
    """
    if source not in _SOURCES:
        raise unknown("model source", source, _SOURCES)
    full_name = f"{source}/{name}"
    for key in options:
        if key in RESERVED:
            raise StkdError(f"{key} cannot be an option of {full_name}: stkd sets it itself, or has a flag for it")
    try:
        model = _SOURCES[source](name, num_classes, in_channels, image_size, pretrained, options)
        if image_size is not None:
            _check(model, num_classes, in_channels, image_size)
    except StkdError:
        raise
    # Builders and hub clients raise any exception; to the user each means that the model cannot be built.
    except Exception as error:
        refused = re.search(r"unexpected keyword argument '(\w+)'", str(error))
        if isinstance(error, TypeError) and refused is not None and refused[1] in options:
            check_keywords(full_name, {refused[1]: None}, _keywords_of(source, name))
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        size = f" for images of {image_size}x{image_size}" if image_size is not None else ""
        weights = " with pretrained weights (is the network reachable?)" if pretrained else ""
        raise StkdError(f"cannot build {full_name}{size}{weights}: {reason}") from error
    return model


def check_keywords(name: str, options: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse keyword arguments that a model does not have.

    Args:
        name: Of the model.
        options: Keyword arguments.
        known: Those that it has.

    Raises:
        StkdError: It does not have one of them; names the nearest.
    """
    for key in options:
        if key not in known:
            if not known:
                raise StkdError(f"{name} has no options, got {key!r}; leave it out")
            raise unknown(f"option of {name}", key, known)


def _keywords_of(source: str, name: str) -> set[str]:
    """Keyword arguments of the class of a model, which are most of those that its factory takes."""
    with torch.device("meta"):
        model = _SOURCES[source](name, 2, 3, None, False, {})
    return set(inspect.signature(type(model)).parameters) - RESERVED


def model_of_hub(name: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """What hf/NAME is among the models of timm or transformers.

    Args:
        name: OWNER/NAME on the hub, or a folder with a config.json.
        options: Keyword arguments; they come before those of the configuration.

    Returns:
        "timm/ARCHITECTURE" or "transformers/TYPE", and the keyword arguments to build it with.

    Raises:
        StkdError: The configuration cannot be had, or is of no image classifier of these two.
    """
    import timm

    config = hub_config(name)
    if transformers_models.is_configuration(config):
        full_name, stored = transformers_models.model_and_options(config, f"hf/{name}")
        return full_name, {**stored, **options}
    architecture, arguments = config.get("architecture"), config.get("model_args")
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise StkdError(f"hf/{name} is no model of timm ({architecture}) or transformers; only those can be loaded")
    # the size is that of the images at hand, see `_timm_model`
    stored = {key: value for key, value in (arguments or {}).items() if key not in RESERVED | {"img_size"}}
    return f"timm/{architecture}", {**stored, **options}


def hub_config(name: str) -> dict[str, Any]:
    """The configuration of hf/NAME: architecture, model_args, and in pretrained_cfg what its weights expect.

    Args:
        name: OWNER/NAME on the hub, or a folder with a config.json.

    Raises:
        StkdError: It cannot be had.
    """
    from timm.models import load_model_config_from_hf

    folder = hub_folder(name) or _downloaded(name)
    try:
        if folder is None:
            try:
                pixels, architecture, arguments = load_model_config_from_hf(name)
                return {"architecture": architecture, "model_args": arguments, "pretrained_cfg": pixels}
            except KeyError:  # it is fetched, and not of timm
                folder = hub.fetched(name, ("*.json",))
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if transformers_models.is_configuration(config):
            return {**config, "pretrained_cfg": transformers_models.read_pixels(folder, config)}
        named = {key: config[key] for key in ("num_classes", "label_names") if key in config}
        return {**config, "pretrained_cfg": {**config.get("pretrained_cfg", config), **named}}
    except StkdError:
        raise
    except Exception as error:  # hub clients raise whatever they like
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        network = "" if folder is not None else " (is the network reachable?)"
        raise StkdError(f"cannot read the configuration of hf/{name}{network}: {reason}") from error


def _downloaded(name: str) -> Path | None:
    """The folder of an earlier download of OWNER/NAME, where the hub cannot be asked; None where it can.

    Raises:
        StkdError: It cannot, and there was none.
    """
    if hub.hub_reachable():
        return None
    if config := hub.cached_in_hub(name, ("config.json",)):
        return config.parent
    raise hub.unreachable(f"hf/{name}")


def _check(model: nn.Module, num_classes: int, in_channels: int, image_size: int) -> None:
    """Run one black image, since only that tells whether a foreign model takes the size and returns logits."""
    model.eval()
    with torch.no_grad():
        logits = model(torch.zeros(1, in_channels, image_size, image_size))
    model.train()
    shape = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    if shape != (1, num_classes):
        raise ValueError(f"its output for one image is {shape}, not logits of shape {(1, num_classes)}")


def _timm(
    name: str,
    num_classes: int,
    in_channels: int,
    image_size: int | None,
    pretrained: bool,
    keywords: Mapping[str, Any],
) -> nn.Module:
    import timm

    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        raise unknown("timm model", architecture, names("timm"))
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise unknown(f"weights of timm/{architecture}", tag, tags)
    return _timm_model(name, architecture, num_classes, in_channels, image_size, pretrained, keywords)


def _hugging_face(
    name: str,
    num_classes: int,
    in_channels: int,
    image_size: int | None,
    pretrained: bool,
    keywords: Mapping[str, Any],
) -> nn.Module:
    (source, architecture), options = split_name((known := model_of_hub(name, keywords))[0]), known[1]
    folder = hub_folder(name) or _downloaded(name)
    if source == "transformers":
        if pretrained and folder is None:
            folder = hub.fetched(name, ("*.json", "*.safetensors"))
        weights = folder if pretrained else None
        return transformers_models.build(architecture, num_classes, in_channels, image_size, options, weights)
    if folder is not None and pretrained and not any((folder / file).is_file() for file in hub.WEIGHTS):
        raise StkdError(f"{folder} holds no {' or '.join(hub.WEIGHTS)}; leave out pretrained, or fetch them")
    place = f"local-dir:{folder}" if folder else f"hf-hub:{name}"
    return _timm_model(place, architecture, num_classes, in_channels, image_size, pretrained, keywords)


def _timm_model(
    name: str,
    architecture: str,
    num_classes: int,
    in_channels: int,
    image_size: int | None,
    pretrained: bool,
    keywords: Mapping[str, Any],
) -> nn.Module:
    import timm

    options = {} if image_size is None else timm_keywords(architecture, image_size)
    if pretrained and not name.startswith(("hf-hub:", "local-dir:")):
        options |= _source_of_weights(name)
    model: nn.Module = timm.create_model(
        name, pretrained=pretrained, num_classes=num_classes, in_chans=in_channels, **options | dict(keywords)
    )
    return model


def timm_keywords(name: str, image_size: int) -> dict[str, Any]:
    """Keyword arguments by which timm builds a model for a size of images.

    Args:
        name: As timm has it.
        image_size: Side in pixels.
    """
    import timm

    fixed = timm.models.get_pretrained_cfg_value(name.partition(".")[0], "fixed_input_size")
    return {"img_size": image_size} if fixed else {}


def _source_of_weights(name: str) -> dict[str, Any]:
    """Keyword arguments by which timm takes published weights from an earlier download, where the hub is unreachable.

    Raises:
        StkdError: There was no earlier download.
    """
    import timm

    known = timm.get_pretrained_cfg(name)
    if known is None or known.file or not known.hf_hub_id or hub.hub_reachable():
        return {}
    files = (known.hf_hub_filename,) if known.hf_hub_filename else hub.WEIGHTS
    if file := hub.cached_in_hub(known.hf_hub_id, files):
        return {"pretrained_cfg_overlay": {"file": str(file)}}
    raise hub.unreachable(f"timm/{name}")


def _transformers(
    name: str,
    num_classes: int,
    in_channels: int,
    image_size: int | None,
    pretrained: bool,
    keywords: Mapping[str, Any],
) -> nn.Module:
    if pretrained:
        raise StkdError(f"transformers/{name} names an architecture; pretrained weights are those of hf/OWNER/NAME")
    return transformers_models.build(name, num_classes, in_channels, image_size, keywords)


def _torchvision(
    name: str,
    num_classes: int,
    in_channels: int,
    image_size: int | None,
    pretrained: bool,
    keywords: Mapping[str, Any],
) -> nn.Module:
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
        weights = torchvision.models.get_model_weights(name).DEFAULT
        file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(weights.url).path).name
        if not file.is_file() and not hub.reachable(weights.url):
            raise hub.unreachable(f"torchvision/{name}", weights.url)
        # torchvision would unpickle anything; fetched and read safely once, the file is known to hold tensors alone.
        weights.get_state_dict(check_hash=True, weights_only=True)
    else:
        options["num_classes"] = num_classes
    options["weights"] = "DEFAULT" if pretrained else None
    model: nn.Module = torchvision.models.get_model(name, **options | dict(keywords))
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


_Builder = Callable[[str, int, int, int | None, bool, Mapping[str, Any]], nn.Module]

_SOURCES: dict[str, _Builder] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "hf": _hugging_face,
    "transformers": _transformers,
}
