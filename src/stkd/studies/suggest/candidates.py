"""The students that `stkd suggest` looks at."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Candidate", "Candidates", "candidates_for"]


@dataclass(frozen=True)
class Candidate:
    """An architecture.

    Attributes:
        model: Name for `stkd.models.create`.
        accuracy: Top-1 in per cent that was published for it, trained without a teacher; None where we know of none.
    """

    model: str
    accuracy: float | None


@dataclass(frozen=True)
class Candidates:
    """Architectures for images of one kind.

    Attributes:
        benchmark: What their accuracies are of.
        models: From the least to the most accurate; those without a published accuracy where their size puts them.
    """

    benchmark: str
    models: tuple[Candidate, ...]


_SMALL_IMAGES = 40
"""Largest side in pixels of images that the networks of CIFAR suit; timm's halve the resolution five times."""


def candidates_for(size: int) -> Candidates:
    """The candidates for images of a side in pixels."""
    return _CIFAR if size <= _SMALL_IMAGES else _PHOTOS


_PHOTOS = Candidates(
    "ImageNet",
    (
        Candidate("timm/mobilenetv3_small_050", 57.9),
        Candidate("timm/lcnet_050", 63.1),
        Candidate("timm/mobilenetv4_conv_small_050", 64.8),
        Candidate("timm/mobilenetv3_small_075", 65.2),
        Candidate("timm/mobilenetv2_050", 66.0),
        Candidate("timm/mobilenetv3_small_100", 67.7),
        Candidate("timm/resnet10t", 68.4),
        Candidate("timm/lcnet_075", 68.8),
        Candidate("timm/mobilevit_xxs", 68.9),
        Candidate("timm/edgenext_xx_small", 71.9),
        Candidate("timm/lcnet_100", 72.1),
        Candidate("timm/resnet14t", 72.3),
        Candidate("timm/mobilenetv2_100", 73.0),
        Candidate("timm/resnet18", 73.2),
        Candidate("timm/mobilenetv4_conv_small", 73.8),
        Candidate("timm/mobilevit_xs", 74.6),
        Candidate("timm/efficientnet_lite0", 75.5),
        Candidate("timm/edgenext_x_small", 75.7),
        Candidate("timm/mobilenetv3_large_100", 75.8),
        Candidate("timm/efficientnet_b0", 77.7),
    ),
)
"""Source: timm, results/results-imagenet.csv and release notes (MobileNetV4), at each model's own size, 224 to 288."""

_CIFAR = Candidates(
    "CIFAR-100",
    (
        Candidate("resnet8", None),
        Candidate("MobileNetV2", 64.6),
        Candidate("resnet14", None),
        Candidate("resnet20", 69.1),
        Candidate("vgg8", 70.4),
        Candidate("ShuffleV1", 70.5),
        Candidate("resnet32", 71.1),
        Candidate("ShuffleV2", 71.8),
        Candidate("wrn_40_1", 72.0),
        Candidate("resnet56", 72.3),
        Candidate("resnet8x4", 72.5),
        Candidate("wrn_16_2", 73.3),
        Candidate("vgg13", 74.6),
        Candidate("wrn_40_2", 75.6),
        Candidate("resnet32x4", 79.4),
    ),
)
"""Source: Tian et al., Contrastive Representation Distillation, ICLR 2020, tables 1 and 2."""
