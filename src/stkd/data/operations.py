"""Which operations change an image beyond its crop and flip, and how strongly: drawn from a keyed generator.

RandAugment (Cubuk et al., 2020) and TrivialAugment (Mueller and Hutter, ICCV 2021) have the operations of
`torchvision.transforms.v2` and its ranges of their magnitudes; Cutout is that of DeVries and Taylor (2017), random
erasing that of Zhong et al. (AAAI 2020). Drawing is here, without torchvision; `apply_operations` does what is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

__all__ = ["NOTHING", "STRONG", "AutoAugment", "Box", "Drawn", "Erasing", "Operation", "Operations", "boxes", "chosen"]

AutoAugment = Literal["none", "randaugment", "trivialaugment", "strong"]
"""Operations on the whole image; "strong" is that of the second view of an image (see `STRONG`)."""

Erasing = Literal["none", "cutout", "random", "square"]
"""What is erased: a fixed square, a random box of half of the images, a square of random side (see `STRONG`)."""

Operation = tuple[str, float]
"""Name of an operation, as in torchvision, and its magnitude."""

Box = tuple[int, int, int, int]
"""Top, left, height, width in pixels."""


@dataclass(frozen=True)
class Operations:
    """What may happen to an image after its crop and flip.

    Attributes:
        auto_augment: Operations on the whole image, drawn for each image.
        erasing: What is filled with the mean of the data, after these.
    """

    auto_augment: AutoAugment = "none"
    erasing: Erasing = "none"

    @property
    def active(self) -> bool:
        """Whether anything happens."""
        return self != NOTHING

    def draw(self, images: int, rng: np.random.Generator) -> Drawn:
        """Numbers for a batch; the same generator state gives the same."""
        policy = _POLICIES.get(self.auto_augment)
        choice = rng.random((images, 0 if policy is None else policy.operations, 3), dtype=np.float32)
        place = rng.random((images, _NUMBERS[self.erasing]), dtype=np.float32)
        return Drawn(self, torch.from_numpy(choice), torch.from_numpy(place))


@dataclass(frozen=True)
class Drawn:
    """Uniform numbers in [0, 1) that decide what happens to each of B images.

    Attributes:
        operations: What may happen.
        choice: float32 (B, N, 3): which operation, its magnitude and its sign, for N operations one after the other.
        place: float32 (B, P): what is erased.
    """

    operations: Operations
    choice: Tensor
    place: Tensor

    def __len__(self) -> int:
        return len(self.choice)


NOTHING = Operations()

STRONG = Operations("strong", "square")
"""The strong view of MLKD (Jin et al., CVPR 2023), as in the authors' code: two operations, each at a uniform
magnitude, and a square with a side of up to half of the image's."""


@dataclass(frozen=True)
class _Policy:
    """A set of operations.

    Attributes:
        operations: Operations done one after the other, with replacement.
        ranges: Magnitude of each operation at its weakest and at its strongest; None for one without.
        signed: Operations whose magnitude is negative half of the time.
        in_pixels: Whether translations are in pixels, and not in sides of the image.
        bins: Number of magnitudes, evenly spaced; None draws any.
        magnitude: Which of them is always taken; None draws it.
    """

    operations: int
    ranges: Mapping[str, tuple[float, float] | None]
    signed: frozenset[str]
    in_pixels: bool = False
    bins: int | None = 31
    magnitude: int | None = None


_GEOMETRIC = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
_COLOUR = ("Brightness", "Color", "Contrast", "Sharpness")


def _ranges(
    shear: float,
    translate: float,
    rotate: float,
    colour: tuple[float, float],
    posterize: tuple[float, float],
    solarize: tuple[float, float] = (1.0, 0.0),
) -> dict[str, tuple[float, float] | None]:
    """In torchvision's order, so that a uniform number chooses alike."""
    geometric = (shear, shear, translate, translate, rotate)
    return {
        "Identity": None,
        **{name: (0.0, most) for name, most in zip(_GEOMETRIC, geometric, strict=True)},
        **dict.fromkeys(_COLOUR, colour),
        "Posterize": posterize,
        "Solarize": solarize,
        "AutoContrast": None,
        "Equalize": None,
    }


_POLICIES: dict[str, _Policy] = {
    "randaugment": _Policy(
        2, _ranges(0.3, 150 / 331, 30, (0, 0.9), (8, 4)), frozenset(_GEOMETRIC + _COLOUR), magnitude=9
    ),
    "trivialaugment": _Policy(
        1, _ranges(0.99, 32, 135, (0, 0.99), (8, 2)), frozenset(_GEOMETRIC + _COLOUR), in_pixels=True
    ),
    # Posterize rounds, which gives 4 to 7 bits alike; colours fade only; a threshold of 256 changes nothing.
    "strong": _Policy(
        2, _ranges(0.3, 0.3, 30, (-0.95, -0.05), (7.5, 3.5), (256 / 255, 0)), frozenset(_GEOMETRIC), bins=None
    ),
}


def chosen(drawn: Drawn, height: int, width: int) -> list[tuple[Operation, ...]]:
    """What is done to each of B images of a size in pixels, in this order."""
    policy = _POLICIES.get(drawn.operations.auto_augment)
    if policy is None:
        return [()] * len(drawn)
    return [tuple(_operation(policy, n, height, width) for n in numbers) for numbers in drawn.choice.tolist()]


def _operation(policy: _Policy, numbers: list[float], height: int, width: int) -> Operation:
    which, strength, sign = numbers
    name = list(policy.ranges)[int(which * len(policy.ranges))]
    ends = policy.ranges[name]
    if ends is None:
        return name, 0.0
    if name in ("TranslateX", "TranslateY") and not policy.in_pixels:
        ends = ends[0], ends[1] * (width if name == "TranslateX" else height)
    if policy.bins is None:
        magnitude = ends[0] + (ends[1] - ends[0]) * strength
    else:
        magnitude = _spaced(*ends, policy.bins)[
            int(strength * policy.bins) if policy.magnitude is None else policy.magnitude
        ]
    if name == "Posterize":
        magnitude = round(magnitude)
    return name, -magnitude if name in policy.signed and sign < 0.5 else magnitude


@cache
def _spaced(first: float, last: float, count: int) -> list[float]:
    """As torchvision has them, in float32."""
    return [float(number) for number in torch.linspace(first, last, count)]


_TRIES = 10
"""Boxes of random erasing that are tried, until one is smaller than the image; as torchvision does."""

_NUMBERS: dict[Erasing, int] = {"none": 0, "cutout": 2, "square": 3, "random": 1 + 4 * _TRIES}

_SHARE, _AREA, _RATIO = 0.5, (0.02, 0.33), (0.3, 3.3)
"""Of random erasing: share of the images, share of an image's area, ratio of height to width; torchvision's."""


def boxes(drawn: Drawn, height: int, width: int) -> list[Box | None]:
    """What is erased of each of B images of a size in pixels; None where nothing is."""
    kind = drawn.operations.erasing
    if kind == "none":
        return [None] * len(drawn)
    if kind == "random":
        return [_random(numbers, height, width) for numbers in drawn.place.tolist()]
    box = _cutout if kind == "cutout" else _square
    return [box(numbers, height, width) for numbers in drawn.place.tolist()]


def _cutout(numbers: list[float], height: int, width: int) -> Box:
    """Half the image's side around a pixel, cut off at the border."""
    y, x = numbers
    half = max(1, min(height, width) // 4)
    row, column = int(y * height), int(x * width)
    top, left = max(0, row - half), max(0, column - half)
    return top, left, min(height, row + half) - top, min(width, column + half) - left


def _square(numbers: list[float], height: int, width: int) -> Box:
    """Up to half the image's side, moved down and right where it would begin outside, and with the pixels of its last
    row and column, as the authors of `STRONG` have it.
    """
    share, y, x = numbers
    side = share * min(height, width) / 2
    top, left = (int(max(0.0, centre - side / 2)) for centre in (y * height, x * width))
    return top, left, min(height, int(top + side) + 1) - top, min(width, int(left + side) + 1) - left


def _random(numbers: list[float], height: int, width: int) -> Box | None:
    chance, *rest = numbers
    if chance >= _SHARE:
        return None
    low, high = np.log(_RATIO)
    for area, ratio, y, x in zip(*(iter(rest),) * 4, strict=True):
        pixels, shape = height * width * (_AREA[0] + (_AREA[1] - _AREA[0]) * area), np.exp(low + (high - low) * ratio)
        h, w = round(np.sqrt(pixels * shape)), round(np.sqrt(pixels / shape))
        if 0 < h < height and 0 < w < width:
            return int(y * (height - h + 1)), int(x * (width - w + 1)), h, w
    return None
