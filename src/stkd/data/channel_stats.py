"""Per-channel mean and standard deviation of a set of images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "channel_stats"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

CHUNK_VALUES = 1 << 24


def channel_stats(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of images scaled to 0..1, exact, from one histogram per channel.

    Args:
        images: uint8 (N, C, H, W), possibly memory-mapped; read in chunks.

    Returns:
        Mean and std, one number per channel. A channel of one constant value gets the std of one grey level.
    """
    channels = images.shape[1]
    counts = np.zeros((channels, 256))
    step = max(1, CHUNK_VALUES // int(np.prod(images.shape[1:])))
    for start in range(0, len(images), step):
        chunk = images[start : start + step]
        for channel in range(channels):
            counts[channel] += np.bincount(chunk[:, channel].ravel(), minlength=256)
    levels = np.arange(256) / 255
    weights = counts / counts.sum(axis=1, keepdims=True)
    mean = weights @ levels
    std = np.sqrt((weights * (levels - mean[:, None]) ** 2).sum(axis=1))
    return tuple(mean.tolist()), tuple(np.maximum(std, 1 / 255).tolist())
