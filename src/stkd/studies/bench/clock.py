"""Time by part: functions are replaced by timed ones for a while."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["Clock", "rate", "wait"]


def wait(device: torch.device) -> None:
    """Until the device has done what it was asked to do; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate(step: Callable[[], None], device: torch.device, steps: int) -> float:
    """Steps per second over so many of them."""
    wait(device)
    began = time.perf_counter()
    for _ in range(steps):
        step()
    wait(device)
    return steps / (time.perf_counter() - began)


class Clock:
    """Seconds spent in each part; what runs inside another part counts once, where it runs.

    Args:
        device: Waited for at both ends of a part.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inside: list[float] = [0.0]

    def wrap(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The callable, timed."""

        def timed(*args: Any, **options: Any) -> Any:
            wait(self.device)
            began = time.perf_counter()
            self._inside.append(0.0)
            try:
                return call(*args, **options)
            finally:
                wait(self.device)
                spent = time.perf_counter() - began
                self.seconds[part] += spent - self._inside.pop()
                self._inside[-1] += spent

        return timed

    @contextmanager
    def on(self, *places: tuple[Any, str, str]) -> Iterator[None]:
        """Time attributes of objects or modules, each given as (owner, name, part), while this lasts."""
        before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
        try:
            for (owner, name, call), (_, _, part) in zip(before, places, strict=True):
                setattr(owner, name, self.wrap(part, call))
            yield
        finally:
            for owner, name, call in before:
                setattr(owner, name, call)
