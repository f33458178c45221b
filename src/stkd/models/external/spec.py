"""What is asked of a model of another library, and the keyword arguments that it may be given."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...core.errors import StkdError, unknown

__all__ = ["RESERVED", "ModelSpec", "check_keywords"]

RESERVED = frozenset(
    {"num_classes", "in_chans", "in_channels"}
    | {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_model_args", "pretrained_strict"}
    | {"checkpoint_path", "cache_dir", "weights", "weights_backbone", "progress"}
    | {"features_only", "scriptable", "exportable", "no_jit", "device", "dtype"}
)
"""Keyword arguments that stkd sets itself, that fetch or read weights, or after which a model is no classifier."""


@dataclass(frozen=True)
class ModelSpec:
    """What is asked of a model.

    Attributes:
        name: As its library has it.
        num_classes: Size of the output.
        in_channels: Channels of the images.
        image_size: Side of the images in pixels; None builds it for its own size.
        pretrained: With published weights.
        options: Keyword arguments of the model.
    """

    name: str
    num_classes: int
    in_channels: int = 3
    image_size: int | None = None
    pretrained: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


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
