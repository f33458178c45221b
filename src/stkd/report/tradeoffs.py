"""The section on accuracy against size and speed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median, stdev
from typing import Any

from .evidence import Evidence
from .looks import TEACHER, Look
from .parts import figure, grid
from .plots import Point, tradeoff
from .record import Panel, Row

__all__ = ["tradeoffs"]

_COSTS = {"parameters": "parameters", "macs": "MACs of an image", "latency_ms": "latency of an image (ms)"}

Found = Mapping[str, Evidence]


def tradeoffs(
    record: Mapping[str, Any], panels: Sequence[Panel], found: Sequence[Found], looks: Mapping[str, Look]
) -> list[str]:
    """A figure for each data set and kind of cost.

    Args:
        record: The comparison.
        panels: Its parts.
        found: Method to what was found, for each part; latencies come from there.
        looks: Of the methods.
    """
    parts = []
    for data in dict.fromkeys(panel.data for panel in panels):
        own = [(panel, known) for panel, known in zip(panels, found, strict=True) if panel.data == data]
        for cost, label in _COSTS.items():
            points = [point for panel, known in own for point in _students(panel, known, record, cost, looks)]
            if points:
                points += _teacher([known for _, known in own], cost)
                caption = (
                    f"Test accuracy on {data} against {label}; up and left is better. The dotted line joins those "
                    "that no other beats in both."
                )
                parts.append(figure(tradeoff(points, label, "test accuracy"), caption))
    return [grid(*parts)] if parts else []


def _students(
    panel: Panel, known: Found, record: Mapping[str, Any], cost: str, looks: Mapping[str, Look]
) -> list[Point]:
    points = []
    for row in panel.drawn():
        price = _price(row, known, cost) or (record["students"].get(panel.student) or {}).get(cost)
        if price:
            values = row.accuracies()
            spread = stdev(values) if len(values) > 1 else 0.0
            points.append(Point(row.name, panel.student, price, row.top1, spread, looks[row.name]))
    return points


def _price(row: Row, known: Found, cost: str) -> float | None:
    """Of this method's student; a latency is the median over all that were measured of the same size."""
    if row.cell.get(cost):
        return float(row.cell[cost])
    measured = [evidence.student.cost for evidence in known.values()]
    if not measured:
        return None
    own = known[row.name].student.cost if row.name in known else measured[0]
    return median(found[cost] for found in measured if found["macs"] == own["macs"])


def _teacher(found: Sequence[Found], cost: str) -> list[Point]:
    teachers = [evidence.teacher for known in found for evidence in known.values() if evidence.teacher is not None]
    return [Point("teacher", "teacher", t.cost[cost], t.scores["top1"], 0.0, TEACHER) for t in teachers[:1]]
