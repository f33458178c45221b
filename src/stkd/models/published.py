"""What the published weights of timm and torchvision expect of images, and which classes they know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ..core.errors import unknown
from . import external
from .names import split_name

__all__ = ["Interpolation", "Published", "imagenet_names", "published"]

Interpolation = Literal["bilinear", "bicubic"]
"""Ways to resize an image that a model can ask for."""


@dataclass(frozen=True)
class Published:
    """What is known of published weights.

    Attributes:
        size: Side of the images in pixels.
        mean, std: Normalisation of images scaled to 0..1.
        crop_pct: Share of a resized image's side that evaluation keeps of its centre.
        interpolation: How images are resized.
        outputs: Number of their classes.
        classes: Lists of names of these classes, in the order of the outputs; none where they are not known.
    """

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_pct: float
    interpolation: Interpolation
    outputs: int
    classes: tuple[tuple[str, ...], ...]

    def names_for(self, wanted: tuple[str, ...]) -> tuple[str, ...] | None:
        """The list of class names that knows most of the classes of a data set; None where there is no list."""
        return max(self.classes, key=lambda names: len({*names} & {*wanted}), default=None)


def published(name: str) -> Published | None:
    """What the weights that `stkd.models.create(name, pretrained=True)` takes expect; None for models without any.

    Nothing is fetched, but for a configuration of hf/OWNER/NAME.

    Args:
        name: timm/NAME, torchvision/NAME, hf/OWNER/NAME or hf/FOLDER; of timm or transformers.

    Raises:
        StkdError: There is no such model, or its configuration cannot be had.
    """
    source, rest = split_name(name)
    if source == "torchvision":
        return _torchvision(rest)
    if source == "timm":
        import timm

        cfg = timm.get_pretrained_cfg(rest) if timm.is_model(rest.partition(".")[0]) else None
        if cfg is None:
            raise unknown("timm model", rest, external.names("timm"))
        return _timm(asdict(cfg))
    return _timm(external.hub_config(rest)["pretrained_cfg"]) if source == "hf" else None


def _timm(cfg: Mapping[str, Any]) -> Published:
    from timm.data.config import resolve_data_config

    pixels: dict[str, Any] = resolve_data_config(pretrained_cfg=dict(cfg))  # type: ignore[no-untyped-call]
    outputs = int(cfg.get("num_classes", 1000))
    classes = []
    if names := cfg.get("label_names"):
        classes.append(_distinct(names))
    classes += imagenet_names(outputs)
    interpolation = _interpolation(pixels["interpolation"])
    mean, std = tuple(map(float, pixels["mean"])), tuple(map(float, pixels["std"]))
    return Published(
        *(int(pixels["input_size"][-1]), mean, std, min(float(pixels["crop_pct"]), 1.0), interpolation, outputs),
        tuple(names for names in classes if len(names) == outputs),
    )


def _torchvision(name: str) -> Published | None:
    import torchvision

    if name not in external.names("torchvision"):
        raise unknown("torchvision model", name, external.names("torchvision"))
    weights = torchvision.models.get_model_weights(name).DEFAULT
    pixels, categories = weights.transforms(), weights.meta["categories"]
    size = int(pixels.crop_size[0])
    return Published(
        *(size, tuple(pixels.mean), tuple(pixels.std), min(size / pixels.resize_size[0], 1.0)),
        *(
            _interpolation(pixels.interpolation.value),
            len(categories),
            (_distinct(categories), *imagenet_names(len(categories))),
        ),
    )


def _interpolation(name: str) -> Interpolation:
    """The nearest of ours to one that a library names."""
    return "bicubic" if name in ("bicubic", "lanczos") else "bilinear"


def imagenet_names(outputs: int) -> list[tuple[str, ...]]:
    """Names of the classes of the ImageNet that has so many: WordNet numbers, which folders have, and words."""
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    subset = infer_imagenet_subset({"num_classes": outputs})
    if subset is None:
        return []
    info = ImageNetInfo(subset)
    numbers: list[str] = info.label_names()  # type: ignore[no-untyped-call]
    words = list(info.label_descriptions())
    return [_distinct(names) for names in (numbers, words, (name.partition(",")[0] for name in words))]


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    """Names of which each occurs once: ImageNet has two cranes and two maillots."""
    seen: dict[str, int] = {}
    told = []
    for name in map(str.strip, names):
        seen[name] = seen.get(name, 0) + 1
        told.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(told)
