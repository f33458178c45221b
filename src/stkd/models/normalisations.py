"""What published weights normalise their images by, by the name of the code that trained them."""

from __future__ import annotations

from ..core.errors import unknown

__all__ = ["Normalisation", "normalisation"]

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel of images scaled to 0..1."""

_KNOWN: dict[str, Normalisation] = {
    # RepDistiller's dataset/cifar100.py and mdistiller's mdistiller/dataset/cifar100.py
    "crd-cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    # mdistiller's mdistiller/dataset/tiny_imagenet.py
    "mdistiller-tiny-imagenet": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
    # torchvision's and most of timm's ImageNet weights
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # TensorFlow's ImageNet weights, such as those of EfficientNet-Lite
    "inception": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}


def normalisation(name: str) -> Normalisation:
    """Mean and standard deviation by name.

    Raises:
        StkdError: The name is unknown.
    """
    if name not in _KNOWN:
        raise unknown("normalisation", name, _KNOWN)
    return _KNOWN[name]
