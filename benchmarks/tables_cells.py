"""Cells that the tables share: a score, a difference with its interval."""

from __future__ import annotations

from typing import Any

__all__ = ["interval", "percent", "score"]


def score(cell: dict[str, Any] | None) -> str:
    """Accuracy of a cell of a comparison, with the runs that failed."""
    if cell is None:
        return ""
    failed = f" ({len(cell['failed'])} failed)" if cell["failed"] else ""
    return (percent(cell["mean"]["top1"], cell["std"]["top1"]) if cell["runs"] else "") + failed


def interval(paired: dict[str, float] | None) -> str:
    """A difference of shares in points, with its interval."""
    if paired is None:
        return ""
    difference, low, high = (100 * paired[name] for name in ("difference", "low", "high"))
    return f"{difference:+.2f}, {low:+.2f} to {high:+.2f}"


def percent(mean: float, std: float) -> str:
    """A mean with its standard deviation, in per cent."""
    return f"{100 * mean:.2f} ± {100 * std:.2f}"
