"""What published teachers normalise their images by, by the name of the code that trained them."""

from __future__ import annotations

from ..core.config import DistillConfig
from ..core.errors import StkdError, unknown

__all__ = ["NORMALISATIONS", "normalisation_of"]

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel of images scaled to 0..1."""

NORMALISATIONS: dict[str, Normalisation] = {
    # RepDistiller's dataset/cifar100.py and mdistiller's mdistiller/dataset/cifar100.py
    "crd-cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    # mdistiller's mdistiller/dataset/tiny_imagenet.py
    "mdistiller-tiny-imagenet": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
    # torchvision's and most of timm's ImageNet weights
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # TensorFlow's ImageNet weights, such as those of EfficientNet-Lite
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def normalisation_of(config: DistillConfig) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Mean and standard deviation that a config gives its teacher, None where it gives none.

    Raises:
        StkdError: The name is unknown, or numbers are given too.
    """
    if config.teacher_norm is None:
        return config.teacher_mean, config.teacher_std
    if config.teacher_mean is not None or config.teacher_std is not None:
        raise StkdError("--teacher-norm names a mean and a standard deviation; leave out --teacher-mean, --teacher-std")
    if config.teacher_norm not in NORMALISATIONS:
        raise unknown("normalisation", config.teacher_norm, NORMALISATIONS)
    return NORMALISATIONS[config.teacher_norm]
