"""The data set that options name, seen as the weights that a model starts from were trained to see images."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TypeVar

from ..core.config import DistillConfig, RunConfig, TrainConfig
from ..core.errors import StkdError
from ..models.files import find_weights, read_info
from ..models.normalisations import Normalisation, normalisation
from ..models.published import published
from . import DataSet, open_data
from .image_arrays import augment_for
from .label_noise import with_label_noise

__all__ = ["data_of", "normalised"]

C = TypeVar("C", bound=RunConfig)

_log = logging.getLogger(__name__)

_ANY_SIZE = ("folder", "csv", "parquet", "webdataset")
"""Sources whose images may be photos."""


def data_of(config: RunConfig) -> DataSet:
    """The data set that a config names, with its splits.

    Some of its training labels are wrong, if the config asks for that.

    Where the model starts from published weights and photos are cropped at random in training, evaluation crops and
    resizes them as these weights' own evaluation does, unless the config says how. For the normalisation see
    `normalised`.
    """
    viewed = _viewed_like_published(config)
    data = _open(viewed)
    if viewed is not config and data.augment != "resized":
        data = _open(config)  # a folder of small images, of which training and evaluation see the same square
    elif viewed is not config:
        _log.info(
            "evaluation sees the images as the published weights do: --crop-pct %g --interpolation %s",
            *(data.crop_pct, data.interpolation),
        )
    return normalised(config, data)


def normalised(config: RunConfig, data: DataSet) -> DataSet:
    """A data set with the normalisation that a config names, or else that of the weights which its model starts from.

    Where these do not say what they were trained with, or are for another number of channels, it stays as it is.

    Raises:
        StkdError: The name is unknown or does not fit the images, or there are no such weights.
    """
    if config.norm == "data":
        return data
    mean, std = _of_start(config) or (data.mean, data.std) if config.norm is None else normalisation(config.norm)
    if len(mean) != data.channels:
        if config.norm is not None:
            raise StkdError(f"--norm {config.norm} is for {len(mean)} channels, {data.name} has {data.channels}")
        return data
    if (mean, std) == (data.mean, data.std):
        return data
    if config.norm is None:
        shown = [" ".join(f"{value:.3g}" for value in values) for values in (mean, std)]
        _log.info("images are normalised as the weights expect it, mean %s, std %s (else: --norm data)", *shown)
    return replace(data, mean=mean, std=std)


def _of_start(config: RunConfig) -> Normalisation | None:
    """What the weights that a model starts from were trained with; None where there are none or they do not say."""
    if (name := _pretrained(config)) is not None:
        known = published(name)
        return None if known is None else (known.mean, known.std)
    weights = None
    if isinstance(config, TrainConfig | DistillConfig):
        weights = config.student_weights if isinstance(config, DistillConfig) else config.weights
    info = None if weights is None else read_info(find_weights(weights))
    return None if info is None else (info.mean, info.std)


def _open(config: RunConfig) -> DataSet:
    data = open_data(
        config.data,
        labels=config.labels,
        image_size=config.image_size,
        val_fraction=config.val_fraction,
        train_images=config.train_images,
        split_seed=config.split_seed,
        nested=config.nested,
        skip_bad=config.skip_bad,
        crop_pct=config.crop_pct,
        interpolation=config.interpolation,
    )
    return with_label_noise(data, config.label_noise, config.split_seed)


def _viewed_like_published(config: C) -> C:
    """The config with crop and interpolation of published weights; itself where there are none, or it names its own."""
    if config.crop_pct is not None or config.interpolation is not None:
        return config
    if config.image_size is None and config.data.partition(":")[0] not in _ANY_SIZE:
        return config  # the other sets are of small images, unless they are enlarged
    if config.image_size is not None and augment_for(config.image_size) != "resized":
        return config
    known = published(name) if (name := _pretrained(config)) is not None else None
    if known is None:
        return config
    return replace(config, crop_pct=known.crop_pct, interpolation=known.interpolation)


def _pretrained(config: RunConfig) -> str | None:
    """The model of a config that starts from published weights."""
    if isinstance(config, DistillConfig):
        return config.student if config.student_pretrained and config.student else None
    return config.model if isinstance(config, TrainConfig) and config.pretrained else None
