"""Models of the Hugging Face hub, hf/OWNER/NAME or hf/FOLDER: each is one of timm or of transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ...core.errors import StkdError
from .. import hub
from ..names import hub_folder, split_name
from . import timm_models, transformers_models
from .spec import RESERVED, ModelSpec

__all__ = ["build", "hub_config", "model_of_hub"]


def build(spec: ModelSpec) -> nn.Module:
    """The model that a specification names.

    Raises:
        StkdError: Its configuration or weights cannot be had, or it is of no library that is known here.
    """
    name = spec.name
    full_name, options = model_of_hub(name, spec.options)
    source, architecture = split_name(full_name)
    spec = replace(spec, name=architecture, options=options)
    folder = hub_folder(name) or _downloaded(name)
    if source == "transformers":
        if spec.pretrained and folder is None:
            folder = hub.fetched(name, ("*.json", "*.safetensors"))
        return transformers_models.build(spec, folder if spec.pretrained else None)
    if folder is not None and spec.pretrained and not any((folder / file).is_file() for file in hub.WEIGHTS):
        raise StkdError(f"{folder} holds no {' or '.join(hub.WEIGHTS)}; leave out pretrained, or fetch them")
    return timm_models.build_from(f"local-dir:{folder}" if folder else f"hf-hub:{name}", spec)


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
    # the size is that of the images at hand, see `timm_models.size_keywords`
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
