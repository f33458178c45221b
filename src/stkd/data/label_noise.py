"""Wrong labels on purpose: how a method bears mistakes in the labels of its images."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from .base import UNLABELLED, DataSet
from .digest import fingerprint

__all__ = ["with_label_noise"]

_NOISE = 3
"""Stream of randomness, beside those of `splits`."""

_log = logging.getLogger(__name__)


def with_label_noise(data: DataSet, share: float, seed: int) -> DataSet:
    """A data set in which some training images have the label of another class, any of the others alike (symmetric).

    Validation and test images keep their labels.

    Args:
        data: The data set.
        share: Of the labelled training images, in [0, 1); exactly so many are changed, to the nearest image.
        seed: Seed of the draw.
    """
    if share == 0:
        return data
    labels = data.train.labels.copy()
    rng = np.random.default_rng((seed, _NOISE))
    labelled = np.flatnonzero(labels != UNLABELLED)
    wrong = rng.permutation(labelled)[: round(share * len(labelled))]
    labels[wrong] = (labels[wrong] + rng.integers(1, len(data.classes), len(wrong))) % len(data.classes)
    _log.info("%d of %d training labels are wrong on purpose (--label-noise %g)", len(wrong), len(labelled), share)
    mark = fingerprint(data.fingerprint, label_noise=share, split_seed=seed)
    return replace(data, train=replace(data.train, labels=labels), fingerprint=mark)
