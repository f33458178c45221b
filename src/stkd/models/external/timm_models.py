"""Models of timm, by its names with or without the tag of published weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from ...core.errors import unknown
from .. import hub
from .spec import ModelSpec

__all__ = ["build", "build_from", "names", "size_keywords"]


def names() -> list[str]:
    """Every architecture that timm knows."""
    import timm

    return list(timm.list_models())


def build(spec: ModelSpec) -> nn.Module:
    """The model that a specification names.

    Raises:
        StkdError: Unknown name or weights, or weights that cannot be fetched.
    """
    import timm

    architecture, _, tag = spec.name.partition(".")
    if not timm.is_model(architecture):
        raise unknown("timm model", architecture, names())
    tags = [full.partition(".")[2] for full in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise unknown(f"weights of timm/{architecture}", tag, tags)
    source = _source_of_weights(spec.name) if spec.pretrained else {}
    return build_from(spec.name, replace(spec, name=architecture, options={**source, **spec.options}))


def build_from(place: str, spec: ModelSpec) -> nn.Module:
    """A model whose configuration and weights are at a place.

    Args:
        place: What `timm.create_model` takes: a name, hf-hub:OWNER/NAME or local-dir:FOLDER.
        spec: The model; its name is that of the architecture.
    """
    import timm

    size = {} if spec.image_size is None else size_keywords(spec.name, spec.image_size)
    model: nn.Module = timm.create_model(
        place,
        pretrained=spec.pretrained,
        num_classes=spec.num_classes,
        in_chans=spec.in_channels,
        **size | dict(spec.options),
    )
    return model


def size_keywords(name: str, image_size: int) -> dict[str, Any]:
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
