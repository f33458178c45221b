"""Hyper-parameters that `stkd tune` can choose, where it looks for them, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.config import DistillConfig
from ..core.errors import StkdError, unknown
from ..methods import Method
from ..methods.selection import method_of, mix_of
from ..training.optim import usual_lr

__all__ = ["Range", "flags", "options", "ranges", "usual"]


@dataclass(frozen=True)
class Range:
    """Where to look for a number.

    Attributes:
        low, high: Ends, both included.
        whole: Whether it is a whole number.
        log: Whether to look along its logarithm.
    """

    low: float
    high: float
    whole: bool = False
    log: bool = False


_OF_METHOD = {"temperature": Range(1, 10, log=True), "weight": Range(0, 1), "beta": Range(0.25, 16, log=True)}
_OF_MIX = {"alpha": Range(0.1, 5, log=True), "instances": Range(1, 4, whole=True)}
_LR = 5.0  # the learning rate is looked for from a fifth of the usual one to five times as much


def ranges(config: DistillConfig, names: Sequence[str]) -> dict[str, Range]:
    """Where to look for each hyper-parameter.

    Raises:
        StkdError: A name is unknown, or the method has no such option.
    """
    if not names:
        raise StkdError("nothing to search: give --search alpha,temperature or the like")
    method = method_of(config)
    return {name: _range(name, config, method) for name in names}


def _range(name: str, config: DistillConfig, method: Method) -> Range:
    if name == "lr":
        return Range(_usual_lr(config) / _LR, _usual_lr(config) * _LR, log=True)
    if name in _OF_METHOD:
        if not hasattr(method, name):
            raise StkdError(f"method {config.method!r} has no {name} to search; leave it out of --search")
        return _OF_METHOD[name]
    if name not in _OF_MIX:
        raise unknown("hyper-parameter", name, [*_OF_METHOD, *_OF_MIX, "lr"])
    if not mix_of(config, method).active:
        raise StkdError(f"method {config.method!r} makes no virtual samples, so there is no {name}; add --mix mixup")
    return _OF_MIX[name]


def _usual_lr(config: DistillConfig) -> float:
    return config.lr or usual_lr(config, config.student)


def usual(config: DistillConfig, names: Iterable[str]) -> dict[str, Any]:
    """The values that a run has where nothing is chosen."""
    method = method_of(config)
    mix = mix_of(config, method)
    known = {n: getattr(method, n, None) for n in _OF_METHOD} | {n: getattr(mix, n) for n in _OF_MIX}
    known["lr"] = _usual_lr(config)
    return {name: known[name] for name in names if known[name] is not None}


def options(config: DistillConfig, values: Mapping[str, float]) -> dict[str, Any]:
    """Values as fields of a config, with three digits, so that they can be written down.

    What belongs to the method goes into its text.
    """
    rounded = {name: _short(value) for name, value in values.items()}
    own = {name: value for name, value in rounded.items() if name in _OF_METHOD}
    name, _, rest = config.method.partition(":")
    kept = [item for item in rest.split(",") if item and item.partition("=")[0] not in own]
    text = ",".join([*kept, *(f"{k}={v:g}" for k, v in own.items())])
    others = {name: value for name, value in rounded.items() if name not in _OF_METHOD}
    return {"method": f"{name}:{text}" if text else name, **others}


def _short(value: float) -> float:
    """The value with three digits; whole numbers stay as they are."""
    return value if isinstance(value, int) else float(f"{value:.3g}")


def flags(options: dict[str, Any]) -> str:
    """Options as the command line takes them."""
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in options.items())
