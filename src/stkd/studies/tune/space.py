"""The search space of `stkd tune`: hyper-parameters, their ranges and defaults, and values as options of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.config import DistillConfig
from ...core.errors import StkdError, unknown
from ...methods import Method
from ...methods.selection import method_of, mix_of
from ...training.optim import usual_lr

__all__ = ["Range", "defaults", "flags", "options", "ranges"]


@dataclass(frozen=True)
class Range:
    """Range of a hyper-parameter.

    Attributes:
        low, high: Ends, both included.
        whole: Whether it takes whole numbers only.
        log: Whether values are drawn evenly along the logarithm.
    """

    low: float
    high: float
    whole: bool = False
    log: bool = False


_OF_METHOD = {"temperature": Range(1, 10, log=True), "weight": Range(0, 1), "beta": Range(0.25, 16, log=True)}
_OF_MIX = {"alpha": Range(0.1, 5, log=True), "instances": Range(1, 4, whole=True)}
_LR = 5.0  # learning rates range from a fifth of the default to five times as much


def ranges(config: DistillConfig, names: Sequence[str]) -> dict[str, Range]:
    """Range of each hyper-parameter.

    Raises:
        StkdError: A name is unknown, or the method has no such option.
    """
    if not names:
        raise StkdError("nothing to search: give --search alpha,temperature or the like")
    method = method_of(config)
    return {name: _range(name, config, method) for name in names}


def _range(name: str, config: DistillConfig, method: Method) -> Range:
    if name == "lr":
        return Range(_default_lr(config) / _LR, _default_lr(config) * _LR, log=True)
    if name in _OF_METHOD:
        if not hasattr(method, name):
            raise StkdError(f"method {config.method!r} has no {name} to search; leave it out of --search")
        return _OF_METHOD[name]
    if name not in _OF_MIX:
        raise unknown("hyper-parameter", name, [*_OF_METHOD, *_OF_MIX, "lr"])
    if not mix_of(config, method).active:
        raise StkdError(f"method {config.method!r} makes no virtual samples, so there is no {name}; add --mix mixup")
    return _OF_MIX[name]


def _default_lr(config: DistillConfig) -> float:
    return config.lr or usual_lr(config, config.student)


def defaults(config: DistillConfig, names: Iterable[str]) -> dict[str, Any]:
    """The values that a run has where nothing is chosen; those that a method leaves open are left out."""
    method = method_of(config)
    mix = mix_of(config, method)
    known = {n: getattr(method, n, None) for n in _OF_METHOD} | {n: getattr(mix, n) for n in _OF_MIX}
    known["lr"] = _default_lr(config)
    return {name: known[name] for name in names if known[name] is not None}


def options(config: DistillConfig, values: Mapping[str, float]) -> dict[str, Any]:
    """Values as fields of a config, rounded to three digits, so that they can be typed.

    Options of the method become part of `method`.
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
