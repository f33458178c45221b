"""Operations on images as torchvision does them, for a batch whose draws stand in its plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from .operations import Box, Drawn, Operation, boxes, chosen

__all__ = ["apply_operations", "operated"]


def apply_operations(images: Tensor, drawn: Sequence[Drawn], fill: Sequence[int]) -> None:
    """Change images in place.

    Args:
        images: uint8 (B, H, W, C), C is 1 or 3.
        drawn: What happens to consecutive images, B together; empty where nothing does.
        fill: Value of each channel where an image is erased.
    """
    start = 0
    for own in drawn:
        part = images[start : (start := start + len(own))]
        height, width = part.shape[1:3]
        if changes := list(zip(*chosen(own, height, width), strict=True)):
            pixels = part.permute(0, 3, 1, 2).contiguous()
            for operations in changes:
                _in_groups(pixels, operations)
            part.copy_(pixels.permute(0, 2, 3, 1))
        _erase(part.permute(0, 3, 1, 2), boxes(own, height, width), fill)


def _in_groups(images: Tensor, operations: Sequence[Operation]) -> None:
    """One operation on each of the images (B, C, H, W), in place; those with the same one together."""
    order = sorted(range(len(images)), key=operations.__getitem__)
    index = torch.tensor(order, device=images.device)
    pixels, start = images[index], 0
    for operation, group in groupby(operations[i] for i in order):
        at = slice(start, start := start + len(list(group)))
        pixels[at] = operated(pixels[at], operation)
    images[index] = pixels


def operated(images: Tensor, operation: Operation) -> Tensor:
    """Images uint8 (B, C, H, W) after an operation, as `torchvision.transforms.v2.RandAugment` does it.

    What comes in from outside the image is black.
    """
    name, magnitude = operation
    return images if name == "Identity" else _operations()[name](images, magnitude)


def _erase(images: Tensor, places: Sequence[Box | None], fill: Sequence[int]) -> None:
    """Fill a box of each of the images (B, C, H, W), in place."""
    value = torch.tensor(fill, dtype=torch.uint8, device=images.device)[:, None, None]
    for image, box in zip(images, places, strict=True):
        if box is not None:
            top, left, height, width = box
            image[:, top : top + height, left : left + width] = value


@cache
def _operations() -> dict[str, Callable[[Tensor, float], Any]]:
    """By name; torchvision is imported here, since it takes half a second and few runs need it."""
    from torchvision.transforms.v2 import functional as F

    affine = partial(F.affine, angle=0.0, scale=1.0)
    sheared = partial(affine, translate=[0, 0], center=[0, 0])
    moved = partial(affine, shear=[0.0, 0.0])
    return {
        "ShearX": lambda images, slope: sheared(images, shear=[math.degrees(math.atan(slope)), 0.0]),
        "ShearY": lambda images, slope: sheared(images, shear=[0.0, math.degrees(math.atan(slope))]),
        "TranslateX": lambda images, pixels: moved(images, translate=[int(pixels), 0]),
        "TranslateY": lambda images, pixels: moved(images, translate=[0, int(pixels)]),
        "Rotate": lambda images, degrees: F.rotate(images, angle=degrees),
        "Brightness": lambda images, more: F.adjust_brightness(images, brightness_factor=1 + more),
        "Color": lambda images, more: F.adjust_saturation(images, saturation_factor=1 + more),
        "Contrast": lambda images, more: F.adjust_contrast(images, contrast_factor=1 + more),
        "Sharpness": lambda images, more: F.adjust_sharpness(images, sharpness_factor=1 + more),
        "Posterize": lambda images, bits: F.posterize(images, bits=int(bits)),
        "Solarize": lambda images, threshold: F.solarize(images, threshold=255 * threshold),
        "AutoContrast": lambda images, _: F.autocontrast(images),
        "Equalize": lambda images, _: F.equalize(images),
    }
