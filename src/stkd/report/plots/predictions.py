"""Figures of predictions: reliability, similarity of classes, change of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from ..styles import COLOURS, INK, Style
from .frame import framed, line

__all__ = ["MOST_CHANGES", "MOST_CLASSES", "class_changes", "heat_map", "reliability"]

MOST_CHANGES = 30
"""Classes that a figure of changes shows at most."""

MOST_CLASSES = 100
"""Classes that a heat map shows at most."""

_LABELLED = 30  # classes up to which the axes of a heat map name each

Bins = Sequence[Mapping[str, float]]
"""Mean confidence, accuracy and count of each bin that holds predictions."""


def reliability(models: Mapping[str, Bins], styles: Mapping[str, Style]) -> go.Figure:
    """Accuracy by confidence, beside the diagonal on which both are equal."""
    diagonal = go.Scatter(
        mode="lines",
        x=[0, 1],
        y=[0, 1],
        line={"color": INK, "width": 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
    lines = [
        line(
            name,
            [bin["confidence"] for bin in bins],
            [bin["accuracy"] for bin in bins],
            styles[name],
            text=[f"{int(bin['count'])} images" for bin in bins],
            line_width=1.2,
            marker_size=_sizes([bin["count"] for bin in bins]),
            hovertemplate="confidence %{x:.1%}, accuracy %{y:.1%}<br>%{text}<extra>%{fullData.name}</extra>",
        )
        for name, bins in models.items()
    ]
    figure = framed([diagonal, *lines], "confidence", "accuracy")
    figure.update_xaxes(range=[-0.03, 1.03], tickformat=".0%")
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    return figure


def _sizes(counts: Sequence[float]) -> list[float]:
    """Marks from 3 pixels on whose area grows with the number of images."""
    return [round(3 + 11 * (count / max(counts)) ** 0.5, 1) for count in counts]


def heat_map(name: str, matrix: Sequence[Sequence[float | None]], classes: Sequence[str]) -> go.Figure:
    """What a model sees of each class (columns) in the images of another (rows); the diagonal is left out.

    Args:
        name: Of the model.
        matrix: (C, C), rows are true classes; None in those of classes without images.
        classes: Their names; the first 100 are shown.
    """
    shown = min(len(classes), len(matrix), MOST_CLASSES)
    names = [escape(c) for c in classes[:shown]]
    cells = [[None if i == j else _rounded(matrix[i][j]) for j in range(shown)] for i in range(shown)]
    heat = go.Heatmap(
        name=escape(name),
        x=names,
        y=names,
        z=cells,
        zmin=0,
        zmax=_nearly_largest(cells),
        colorscale="Viridis",
        colorbar={"thickness": 10, "len": 0.9, "tickformat": ".2g"},
        hoverongaps=False,
        hovertemplate="%{y} seen as %{x}: %{z:.4f}<extra></extra>",
    )
    figure = framed([heat], "seen as", "true class", height=360)
    labelled: dict[str, Any] = {"tickmode": "linear", "tickfont": {"size": 10}}
    ticks = labelled if shown <= _LABELLED else {"showticklabels": False, "ticks": ""}
    figure.update_layout(margin={"l": 50, "r": 10, "t": 10, "b": 50})
    figure.update_xaxes(type="category", showgrid=False, **ticks)  # categories, since class names may be numbers
    figure.update_yaxes(type="category", showgrid=False, autorange="reversed", **ticks)
    return figure


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _nearly_largest(cells: Sequence[Sequence[float | None]]) -> float | None:
    """Where the colours end: one cell in 200 may lie beyond, so that a few large ones do not darken all others."""
    values = sorted(value for row in cells for value in row if value is not None)
    return values[-1 - len(values) // 200] if values else None


def class_changes(classes: Sequence[str], changes: Sequence[float], label: str) -> go.Figure:
    """Change of each class's accuracy, largest gain first; of many classes, those that change most."""
    order = sorted(range(len(classes)), key=lambda i: -changes[i])
    if len(order) > MOST_CHANGES:
        order = order[: MOST_CHANGES // 2] + order[-MOST_CHANGES // 2 :]
    values = [changes[i] for i in order]
    bars = go.Bar(
        orientation="h",
        name=escape(label),
        x=values,
        y=[escape(classes[i]) for i in order],
        marker_color=[COLOURS[2] if v >= 0 else COLOURS[1] for v in values],
        hovertemplate="%{y}: %{x:+.1%}<extra></extra>",
        showlegend=False,
    )
    figure = framed([bars], label, "", height=110 + 20 * len(order))
    figure.update_xaxes(tickformat="+.0%")
    figure.update_yaxes(type="category", autorange="reversed", tickmode="linear", tickfont_size=11, showgrid=False)
    return figure
