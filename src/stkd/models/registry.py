"""Models by name: ours, and those of timm, torchvision and the Hugging Face hub behind a prefix."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from ..core.errors import StkdError, UnknownName, unknown
from ..core.registry import Registry
from . import external
from .names import split_name

__all__ = ["Factory", "create", "default_lr", "models", "recorded_name", "register"]

MIN_SIZE = 8
"""Side in pixels of the smallest image that all our models take."""


_NUMBER = re.compile("[1-9][0-9]{0,4}")
"""Width, or side of the maps, of the classifier that a student takes over."""


class Factory(Protocol):
    """Builds a model with fresh weights."""

    def __call__(self, *, num_classes: int, in_channels: int) -> nn.Module: ...


F = TypeVar("F", bound=Factory)

models: Registry[Factory] = Registry("model", "stkd.models")

_lr: dict[str, float] = {}


def register(name: str, summary: str, paper: str = "", *, lr: float = 0.05) -> Callable[[F], F]:
    """Decorator that enters a factory into `models`.

    Args:
        name: What it is asked for by.
        summary: One line.
        paper: Where the model was published.
        lr: Learning rate that the CRD benchmark (Tian et al., ICLR 2020, supplement) trains it with, for SGD with
            batches of 64.
    """

    def enter(factory: F) -> F:
        models.register(name, summary, paper)(factory)
        _lr[name] = lr
        return factory

    return enter


def default_lr(name: str) -> float:
    """Learning rate that suits the model `name` for SGD with batches of 64; 0.05 where we know nothing better."""
    return _lr.get(name, 0.05) if name in models else 0.05


def create(
    name: str,
    *,
    num_classes: int,
    in_channels: int = 3,
    image_size: int | None = None,
    pretrained: bool = False,
    options: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Build the model called `name`.

    Args:
        name: One of `models`, or timm/NAME, torchvision/NAME, hf/OWNER/NAME, hf/FOLDER (a folder with a config.json
            that timm or transformers wrote), transformers/TYPE (the type of a configuration, such as vit), or
            simkd/STUDENT/WIDTH (a student with the classifier of a SimKD teacher).
        num_classes: Size of the output.
        in_channels: Channels of the images.
        image_size: Side of the square images in pixels. Models made for one size (vision transformers) are built for
            this one, and what cannot take it is refused here and not in the middle of training.
        pretrained: Fetch published weights, where there are any (not for ours: see `stkd.models.load`).
        options: Keyword arguments of the model, such as {"drop_rate": 0.1} of a timm model.

    Returns:
        A module from images (B, in_channels, H, W) to logits (B, num_classes).

    Raises:
        StkdError: Unknown name or keyword, impossible sizes, or weights that cannot be fetched.
    """
    options = dict(options or {})
    for what, value in (("num_classes", num_classes), ("in_channels", in_channels), ("image_size", image_size)):
        if value is not None and value < 1:
            raise StkdError(f"{what} is {value}; it must be at least 1")
    source, rest = split_name(name)
    if source == "simkd":
        return _reused(rest, num_classes, in_channels, image_size, options)
    if source:
        spec = external.ModelSpec(rest, num_classes, in_channels, image_size, pretrained, options)
        return external.create(source, spec)
    if name not in models:
        raise _unknown(name)
    if pretrained:
        raise StkdError(f"no pretrained weights are published under the name {name!r}; give a weights file instead")
    if image_size is not None and image_size < MIN_SIZE:
        raise StkdError(f"the images are {image_size}x{image_size}; {name} needs at least {MIN_SIZE}x{MIN_SIZE} pixels")
    factory: Callable[..., nn.Module] = models.get(name)
    _check_options(name, factory, options)
    return factory(num_classes=num_classes, in_channels=in_channels, **options)


def recorded_name(name: str, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
    """The name and options that are written beside weights, so that the model can be built again without a download.

    A model hf/OWNER/NAME is written as the model of timm or transformers that it is.

    Args:
        name, options: As for `create`.

    Raises:
        StkdError: A configuration on the hub cannot be fetched.
    """
    options = dict(options or {})
    source, rest = split_name(name)
    return external.model_of_hub(rest, options) if source == "hf" else (name, options)


def _check_options(name: str, factory: Callable[..., nn.Module], options: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that a factory does not have.

    Raises:
        StkdError: It does not have one of them; names the nearest.
    """
    parameters = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    own = {p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)}
    external.check_keywords(name, options, own - {"num_classes", "in_channels"})


def _reused(
    rest: str, num_classes: int, in_channels: int, image_size: int | None, options: Mapping[str, Any]
) -> nn.Module:
    from .reused import ReusedClassifier

    student, _, last = rest.rpartition("/")
    width, x, side = last.partition("x")
    if not student or not _NUMBER.fullmatch(width) or (x and not _NUMBER.fullmatch(side)):
        raise StkdError(f"unknown model 'simkd/{rest}'; write simkd/STUDENT/WIDTH, such as simkd/resnet8/64")
    backbone = create(student, num_classes=num_classes, in_channels=in_channels, image_size=image_size, options=options)
    size = image_size or 32
    return ReusedClassifier(
        backbone, int(width), num_classes, torch.zeros(2, in_channels, size, size), int(side) if x else None
    )


def _unknown(name: str) -> UnknownName:
    for source in ("timm", "torchvision"):
        if name in external.names(source):
            return UnknownName(f"unknown model {name!r}; did you mean {source}/{name}?")
    return unknown("model", name, models)
