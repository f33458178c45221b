"""The method and the virtual samples that options name."""

from __future__ import annotations

from pathlib import Path

from ..core.config import DistillConfig, RunConfig, TrainConfig
from ..core.errors import StkdError
from ..core.plugins import load_plugin
from ..mixing import Mix
from .base import Method
from .spec import parse, resolve_mix

__all__ = ["method_of", "mix_of", "named_method"]


def method_of(config: TrainConfig | DistillConfig) -> Method:
    """The method that a config names, after its plug-in was loaded."""
    return named_method(config.method, config.plugin)


def named_method(spec: str, plugin: Path | None) -> Method:
    """The method of a text such as "stkd:temperature=2", after a plug-in was loaded that may register it."""
    if plugin is not None:
        load_plugin(plugin)
    return parse(spec)


def mix_of(config: RunConfig, method: Method) -> Mix:
    """The virtual samples that a config asks for.

    Raises:
        StkdError: The choices contradict each other.
    """
    mix = resolve_mix(
        method,
        kind=config.mix,
        instances=config.instances,
        alpha=config.alpha,
        per_sample=config.per_sample,
        real=config.real,
        beside=config.beside,
        until=config.mix_until,
    )
    if mix.until < 1 and (config.sample_epochs or config.cuda_graph):
        raise StkdError("mix_until changes the samples in the middle of a run; leave out sample_epochs and cuda_graph")
    if method.labels_real_alone and mix.active and not (mix.real or mix.beside) and mix.until == 1:
        raise StkdError(
            "labels=real looks at real images alone, and all are mixed; add --real, --beside or --mix-until"
        )
    return mix
