"""The virtual samples of a run: their loader, and all that decides which they are."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..core.config import DistillConfig, RunConfig
from ..core.errors import StkdError
from ..mixing import Mix
from .base import UNLABELLED, Augment, DataSet
from .loader import TrainLoader
from .operations import Operations
from .plan import Unlabelled

if TYPE_CHECKING:  # a page and a prediction open data too, and need none of Fabric
    from ..core.fabric import Fabric

__all__ = ["describe_images", "describe_samples", "make_loader", "unlabelled_of"]


def make_loader(config: RunConfig, data: DataSet, mix: Mix, fabric: Fabric) -> TrainLoader:
    """The batches of a run, those of this process."""
    return TrainLoader(
        data,
        batch_size=config.batch_size,
        mix=mix,
        augmentation=_augmentation(config, data),
        seed=config.sampling_seed,
        device=fabric.device,
        workers=config.workers,
        rank=fabric.global_rank,
        world=fabric.world_size,
        cycle=config.sample_epochs,
        drop_last=config.drop_last,
        mixed_epochs=mix.mixed_epochs(config.epochs),
        operations=_operations(config),
        unlabelled=unlabelled_of(config, data),
    )


def unlabelled_of(config: RunConfig, data: DataSet) -> Unlabelled | None:
    """The unlabelled images that a config asks for beside labelled ones, see `unlabelled.with_unlabelled`."""
    if not isinstance(config, DistillConfig) or config.unlabelled is None:
        return None
    count = int((data.train.labels == UNLABELLED).sum())
    return Unlabelled(count, config.unlabelled_ratio) if count else None


def describe_samples(config: RunConfig, data: DataSet, mix: Mix) -> dict[str, Any]:
    """Everything that decides the virtual samples of an epoch, by name: runs that agree in it have the same.

    Raises:
        StkdError: The number of rows changes in the middle of the run, so that no cache can hold them.
    """
    mixed = mix.mixed_epochs(config.epochs) is not None
    if mixed and mix.beside:
        raise StkdError(
            "a cache holds as many rows of each step, and with --mix-until --beside they change; leave out one"
        )
    mixing = asdict(mix)
    del mixing["until"]
    for name in ("largest_first", "strong"):
        if not mixing[name]:
            del mixing[name]  # caches that were written without it stay good
    full = len(data.train) % config.batch_size == 0  # then nothing is dropped, whether asked for or not
    unlabelled = unlabelled_of(config, data)
    return {
        "data": data.fingerprint,
        "normalisation": [list(data.mean), list(data.std)],
        "augmentation": _augmentation(config, data),
        **{name: value for name, value in asdict(_operations(config)).items() if value != "none"},
        "mix": mixing.pop("kind"),
        **mixing,
        **({"mix_until": f"{mix.until:g} of {config.epochs} epochs"} if mixed else {}),
        **({"unlabelled_ratio": unlabelled.ratio} if unlabelled is not None else {}),
        "batch_size": config.batch_size,
        "drop_last": config.drop_last or full,
        "data_seed": config.sampling_seed,
    }


def describe_images(data: DataSet) -> str:
    """The training images in words, for messages and records."""
    return f"{len(data.train):,} training images of {data.name}, {data.size} x {data.size} pixels"


def _operations(config: RunConfig) -> Operations:
    return Operations(config.auto_augment, config.erasing)


def _augmentation(config: RunConfig, data: DataSet) -> Augment:
    return "none" if config.augment == "none" else data.augment
