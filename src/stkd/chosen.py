"""What options choose: the method, its virtual samples, the data set."""

from __future__ import annotations

from pathlib import Path

from .config import DistillConfig, RunConfig, TrainConfig
from .data import DataSet, open_data
from .methods import Method, parse, resolve_mix
from .mixing import Mix
from .plugins import load_plugin

__all__ = ["data_of", "method_of", "mix_of", "named_method"]


def method_of(config: TrainConfig | DistillConfig) -> Method:
    """The method that a config names, after its plug-in was loaded."""
    return named_method(config.method, config.plugin)


def named_method(spec: str, plugin: Path | None) -> Method:
    """The method of a text such as "stkd:temperature=2", after a plug-in was loaded that may register it."""
    if plugin is not None:
        load_plugin(plugin)
    return parse(spec)


def mix_of(config: RunConfig, method: Method) -> Mix:
    """The virtual samples that a config asks for."""
    return resolve_mix(
        method,
        kind=config.mix,
        instances=config.instances,
        alpha=config.alpha,
        per_sample=config.per_sample,
        real=config.real,
        beside=config.beside,
    )


def data_of(config: RunConfig) -> DataSet:
    """The data set that a config names, with its splits."""
    return open_data(
        config.data,
        labels=config.labels,
        image_size=config.image_size,
        val_fraction=config.val_fraction,
        train_images=config.train_images,
        split_seed=config.split_seed,
    )
