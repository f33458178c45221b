"""Figures of what models predict: reliability, similarity of classes, change of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .looks import COLOURS, Look
from .plots import framed

__all__ = ["CHANGES", "class_changes", "heat_map", "reliability"]

_LABELLED = 30  # classes up to which the axes of a heat map name each
CHANGES = 30
"""Classes that a figure of changes shows at most."""

Bins = Mapping[str, Sequence[float]]
"""Mean confidence and accuracy of each bin that holds predictions, and how many it holds."""


def reliability(models: Mapping[str, Bins], looks: Mapping[str, Look]) -> dict[str, Any]:
    """Accuracy by confidence; on the diagonal, what a model says is how often it is right."""
    diagonal: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": [0, 1],
        "y": [0, 1],
        "line": {"color": "var(--ink)", "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    lines = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": escape(name),
            "x": list(bins["confidence"]),
            "y": list(bins["accuracy"]),
            "text": [f"{int(count)} images" for count in bins["count"]],
            "line": {"color": looks[name].colour, "dash": looks[name].dash, "width": 1.2},
            "marker": {"color": looks[name].colour, "symbol": looks[name].symbol, "size": _sizes(bins["count"])},
            "hovertemplate": "says %{x:.1%}, right %{y:.1%}<br>%{text}<extra>%{fullData.name}</extra>",
        }
        for name, bins in models.items()
    ]
    plot = framed([diagonal, *lines], "confidence", "accuracy")
    for axis in ("xaxis", "yaxis"):
        plot["layout"][axis] |= {"range": [-0.03, 1.03], "tickformat": ".0%"}
    return plot


def _sizes(counts: Sequence[float]) -> list[float]:
    """Marks from 3 pixels on whose area grows with the number of images."""
    return [round(3 + 11 * (count / max(counts)) ** 0.5, 1) for count in counts]


def heat_map(name: str, matrix: Sequence[Sequence[float | None]], classes: Sequence[str]) -> dict[str, Any]:
    """What a model sees of each class (columns) in the images of another (rows); the diagonal is left out.

    Args:
        name: Of the model.
        matrix: (C, C), rows are true classes; None in those of classes without images.
        classes: Their names.
    """
    shown = min(len(classes), len(matrix))
    names = [escape(c) for c in classes[:shown]]
    cells = [[None if i == j else matrix[i][j] for j in range(shown)] for i in range(shown)]
    data: dict[str, Any] = {
        "type": "heatmap",
        "name": escape(name),
        "x": names,
        "y": names,
        "z": cells,
        "zmin": 0,
        "zmax": _nearly_largest(cells),
        "colorscale": "Viridis",
        "colorbar": {"thickness": 10, "len": 0.9, "tickformat": ".2g"},
        "hoverongaps": False,
        "hovertemplate": "%{y} seen as %{x}: %{z:.4f}<extra></extra>",
    }
    plot = framed([data], "seen as", "true class", height=360)
    plot["layout"]["margin"] = {"l": 50, "r": 10, "t": 10, "b": 50}
    for axis in ("xaxis", "yaxis"):
        # categories, since class names may be numbers
        ticks = (
            {"tickmode": "linear", "tickfont": {"size": 10}}
            if shown <= _LABELLED
            else {"showticklabels": False, "ticks": ""}
        )
        plot["layout"][axis] |= {"type": "category", "showgrid": False, **ticks}
    plot["layout"]["yaxis"]["autorange"] = "reversed"
    return plot


def _nearly_largest(cells: Sequence[Sequence[float | None]]) -> float | None:
    """Where the colours end: one cell in 200 may lie beyond, so that a few large ones do not darken all others."""
    values = sorted(value for row in cells for value in row if value is not None)
    return values[-1 - len(values) // 200] if values else None


def class_changes(classes: Sequence[str], changes: Sequence[float], label: str) -> dict[str, Any]:
    """Change of each class's accuracy, largest gain first; of many classes, those that change most."""
    order = sorted(range(len(classes)), key=lambda i: -changes[i])
    if len(order) > CHANGES:
        order = order[: CHANGES // 2] + order[-CHANGES // 2 :]
    values = [changes[i] for i in order]
    data: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "name": escape(label),
        "x": values,
        "y": [escape(classes[i]) for i in order],
        "marker": {"color": [COLOURS[2] if v >= 0 else COLOURS[1] for v in values]},
        "hovertemplate": "%{y}: %{x:+.1%}<extra></extra>",
        "showlegend": False,
    }
    plot = framed([data], label, "", height=110 + 20 * len(order))
    plot["layout"]["xaxis"] |= {"tickformat": "+.0%"}
    plot["layout"]["yaxis"] |= {
        "type": "category",
        "autorange": "reversed",
        "tickmode": "linear",
        "tickfont": {"size": 11},
        "showgrid": False,
    }
    return plot
