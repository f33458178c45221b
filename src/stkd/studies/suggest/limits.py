"""Limits of what a student may cost, written with units: 5ms, 2MB, 50M."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...core.errors import StkdError

__all__ = ["Limits"]

_LATENCY = {"us": 1e-3, "ms": 1.0, "s": 1e3}
_SIZE = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}
_MACS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}


@dataclass(frozen=True)
class Limits:
    """What a student may cost at most; None is no limit.

    Attributes:
        latency_ms: Median milliseconds of one image.
        file_bytes: Its weights in float32.
        macs: Multiply-accumulates of one image.
    """

    latency_ms: float | None = None
    file_bytes: float | None = None
    macs: float | None = None

    @classmethod
    def of(cls, latency: str | None = None, size: str | None = None, macs: str | None = None) -> Limits:
        """Limits as a command is given them.

        Args:
            latency: Such as 5ms or 0.01s.
            size: Such as 2MB or 500kB.
            macs: Such as 50M or 1.2G.

        Raises:
            StkdError: There is none, or one is no positive number with a unit.

        Example:
            >>> Limits.of("5ms", macs="50M")
            Limits(latency_ms=5.0, file_bytes=None, macs=50000000.0)
        """
        if latency is None and size is None and macs is None:
            raise StkdError("there is no limit: give --latency 5ms, --size 2MB or --macs 50M, or several")
        return cls(
            _number("--latency", latency, _LATENCY, "5ms"),
            _number("--size", size, _SIZE, "2MB"),
            _number("--macs", macs, _MACS, "50M"),
        )

    def excess(self, costs: Mapping[str, Any]) -> float:
        """By what factor costs are above the limit that they miss by most; up to 1 they meet all limits.

        Args:
            costs: Values by the names of the limits.
        """
        return max(float(costs[name]) / float(most) for name, most in vars(self).items() if most is not None)


_NUMBER = re.compile(r"\s*(\d+\.?\d*|\.\d+)\s*([a-zA-Z]*)\s*")
_LONGEST = 40  # letters


def _number(flag: str, text: str | None, units: Mapping[str, float], example: str) -> float | None:
    if text is None:
        return None
    match = _NUMBER.fullmatch(text) if len(text) <= _LONGEST else None
    unit = match[2].lower() if match is not None else ""
    if match is None or unit not in units:
        known = ", ".join(name for name in _SHOWN[flag])
        what = "has no unit" if match is not None and not unit else "is no number with a unit"
        raise StkdError(f"{flag} {text[:_LONGEST]} {what}; write it like {example} (units: {known})")
    value = float(match[1]) * units[unit]
    if not 0 < value < math.inf:
        raise StkdError(f"{flag} must be more than 0, got {text}")
    return value


_SHOWN = {"--latency": ("us", "ms", "s"), "--size": ("kB", "MB", "GB", "KiB", "MiB"), "--macs": ("k", "M", "G")}
