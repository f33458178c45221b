"""The section on accuracy against size and speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, stdev
from typing import Any

from .comparison_record import Panel, Row
from .page import Figure
from .plots.curves import Point, tradeoff
from .predictions import Evaluations
from .styles import TEACHER, Style

__all__ = ["tradeoffs"]

_COSTS = {
    "parameters": ("params", "parameters"),
    "macs": ("macs", "MACs of an image"),
    "latency_ms": ("latency_ms_1", "latency of an image (ms)"),
}
"""Name of a cost in the record to its name in an evaluation and to its label."""


def tradeoffs(
    record: Mapping[str, Any],
    panels: Sequence[Panel],
    evaluations: Sequence[Evaluations],
    styles: Mapping[str, Style],
) -> list[Figure]:
    """A figure for each data set and kind of cost.

    Args:
        record: The comparison.
        panels: Its parts.
        evaluations: Of the methods of each part; latencies come from there.
        styles: Of the methods.
    """
    figures = []
    for data in dict.fromkeys(panel.data for panel in panels):
        pairs = [pair for pair in zip(panels, evaluations, strict=True) if pair[0].data == data]
        for cost, (key, label) in _COSTS.items():
            points = [point for panel, known in pairs for point in _students(panel, known, record, cost, key, styles)]
            if points:
                points += _teacher([known for _, known in pairs], key)
                caption = (
                    f"Test accuracy on {data} against {label}; up and left is better. The dotted line joins those "
                    "that no other beats in both."
                )
                figures.append(Figure(tradeoff(points, label, "test accuracy"), caption))
    return figures


def _students(
    panel: Panel, evaluations: Evaluations, record: Mapping[str, Any], cost: str, key: str, styles: Mapping[str, Style]
) -> list[Point]:
    size = record["students"].get(panel.student) or {}
    points = []
    for row in panel.drawn():
        price = row.cell.get(cost) or _measured(row, evaluations, key) or size.get(cost)
        if price:
            values = row.accuracies()
            spread = stdev(values) if len(values) > 1 else 0.0
            points.append(Point(row.name, panel.student, price, row.top1, spread, styles[row.name]))
    return points


def _measured(row: Row, evaluations: Evaluations, key: str) -> float | None:
    """The cost of a method's student: the median over all evaluated students of the same size."""
    if not evaluations:
        return None
    own = evaluations.get(row.name, next(iter(evaluations.values())))
    return float(median(e[key] for e in evaluations.values() if e["macs"] == own["macs"]))


def _teacher(evaluations: Sequence[Evaluations], key: str) -> list[Point]:
    teachers = [e["teacher"] for by_name in evaluations for e in by_name.values() if "teacher" in e]
    return [Point("teacher", "teacher", t[key], t["top1"], 0.0, TEACHER) for t in teachers[:1] if key in t]
