"""Common corruptions of images, each at five severities.

Hendrycks & Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019.
Fourteen of their fifteen as whole-batch operations, with the severities that made CIFAR-10-C for images up to 32
pixels, Tiny-ImageNet-C up to 64 and ImageNet-C for larger ones (make_cifar_c.py, make_tinyimagenet_c.py and
make_imagenet_c.py of github.com/hendrycks/robustness).

Frost is left out: it pastes photographs of frozen windows, which come only inside packages that work on one image at a
time, with the severities of ImageNet-C alone, and that need OpenCV, Numba and scikit-image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import blur, digital, noise, weather

__all__ = ["CORRUPTIONS", "GROUPS", "SEVERITIES", "corrupt"]

SEVERITIES = (1, 2, 3, 4, 5)

_CIFAR, _TINY = 32, 64  # sides in pixels up to which their severities apply
_TABLE = {**noise.TABLE, **blur.TABLE, **weather.TABLE, **digital.TABLE}

CORRUPTIONS = tuple(_TABLE)
"""Names of the corruptions."""

GROUPS = {
    "noise": tuple(noise.TABLE),
    "blur": tuple(blur.TABLE),
    "weather": (*weather.TABLE, "frost"),
    "digital": tuple(digital.TABLE),
}
"""The paper's four kinds, and the corruptions of each; frost is known from the published files alone."""


def corrupt(images: Tensor, name: str, severity: int, generator: torch.Generator) -> Tensor:
    """Corrupt a batch of images.

    Args:
        images: uint8 (B, C, H, W), grey or RGB.
        name: One of `CORRUPTIONS`.
        severity: 1 (least) to 5.
        generator: On the CPU; the same state gives the same images on every device.

    Returns:
        uint8 (B, C, H, W), rounded down as in CIFAR-10-C.
    """
    corruption = _TABLE[name]
    side = images.shape[-1]
    amounts = corruption.cifar if side <= _CIFAR else corruption.tiny if side <= _TINY else corruption.imagenet
    amount = amounts[severity - 1]
    corrupted = corruption.operation(images.float() / 255, amount, generator).clamp(0, 1) * 255
    return (corrupted + 1e-3).to(torch.uint8)  # 1e-3: whole numbers stay whole in spite of rounding errors
