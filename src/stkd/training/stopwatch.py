"""Seconds that calls take, by turns, so that a busy machine disturbs all of them alike."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import torch

__all__ = ["Timer", "timed"]

_SECONDS, _TURN = 1.5, 0.3
_HOPELESS = 3.0  # times as long as the fastest: one look is enough


class Timer(Protocol):
    """Says how long calls take; tests give one that looks at no clock."""

    def __call__(
        self,
        calls: Mapping[str, Callable[[], object]],
        device: torch.device,
        between: Callable[[], object] | None = None,
    ) -> dict[str, float]:
        """Seconds of each call, by name.

        Args:
            calls: What is timed.
            device: Waited for at both ends of a call.
            between: Called before each, untimed, so that caches and threads are as they will be.
        """


def timed(
    calls: Mapping[str, Callable[[], object]],
    device: torch.device,
    between: Callable[[], object] | None = None,
) -> dict[str, float]:
    """Seconds of each call by a clock, for a second or two each: the fastest turn counts.

    What does not fit into memory takes for ever.
    """
    first = {name: _first(call, device, between) for name, call in calls.items()}
    best, spent, fastest = dict(first), dict(first), min(first.values())
    close = [name for name, seconds in first.items() if math.isfinite(seconds) and seconds <= _HOPELESS * fastest]
    while due := [name for name in close if spent[name] < _SECONDS]:
        for name in due:
            count = max(1, round(_TURN / max(first[name], 1e-6)))
            taken = sum(_once(calls[name], device, between) for _ in range(count))
            best[name], spent[name] = min(best[name], taken / count), spent[name] + taken
        close.reverse()
    return best


def _first(call: Callable[[], object], device: torch.device, between: Callable[[], object] | None) -> float:
    """Seconds after a first call that warms up."""
    try:
        seconds = _once(call, device, between)
        return seconds if seconds > _SECONDS else _once(call, device, between)
    except torch.OutOfMemoryError:
        return math.inf


def _once(call: Callable[[], object], device: torch.device, between: Callable[[], object] | None) -> float:
    if between is not None:
        between()
    _wait(device)
    began = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: torch.device) -> None:
    """Until the device has done what it was asked to do; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
