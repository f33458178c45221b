"""The data set that options name."""

from __future__ import annotations

from ..core.config import RunConfig
from . import DataSet, open_data

__all__ = ["data_of"]


def data_of(config: RunConfig) -> DataSet:
    """The data set that a config names, with its splits."""
    return open_data(
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
