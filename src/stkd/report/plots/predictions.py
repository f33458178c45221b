"""Figures of predictions: reliability, similarity of classes, change of each class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from ..styles import COLOURS, INK, Style
from .frame import framed, line

__all__ = ["MOST_CHANGES", "MOST_CLASSES", "class_changes", "confusion_map", "heat_map", "reliability"]

MOST_CHANGES = 30
"""Classes that a figure of changes shows at most."""

MOST_CLASSES = 100
"""Classes that a heat map shows at most."""

FEW = 10
"""Images below which the accuracy of a bin is hardly known: its mark is pale and not joined to others."""

_LABELLED = 30  # classes up to which the axes of a heat map name each

Bins = Sequence[Mapping[str, float]]
"""Mean confidence, accuracy and count of each bin that holds predictions."""


def reliability(models: Mapping[str, Bins], styles: Mapping[str, Style]) -> go.Figure:
    """Accuracy by confidence, beside the diagonal on which both are equal; bins of few images are pale."""
    diagonal = go.Scatter(
        mode="lines",
        x=[0, 1],
        y=[0, 1],
        line={"color": INK, "width": 1, "dash": "dot"},
        hoverinfo="skip",
        showlegend=False,
    )
    lines = [trace for name, bins in models.items() for trace in _bins(name, bins, styles[name])]
    figure = framed([diagonal, *lines], "confidence", "accuracy")
    figure.update_xaxes(range=[-0.03, 1.03], tickformat=".0%")
    figure.update_yaxes(range=[-0.03, 1.03], tickformat=".0%")
    return figure


def _bins(name: str, bins: Bins, style: Style) -> list[go.Scatter]:
    """A line through the bins of enough images, and pale marks for the others."""
    many, few = ([bin for bin in bins if (bin["count"] < FEW) == small] for small in (False, True))
    most = max(bin["count"] for bin in bins)
    pale = {"mode": "markers", "opacity": 0.35, "showlegend": not many}
    return [
        line(
            name,
            [bin["confidence"] for bin in some],
            [bin["accuracy"] for bin in some],
            style,
            text=[f"{int(bin['count'])} image{'s' if bin['count'] > 1 else ''}" for bin in some],
            line_width=1.2,
            marker_size=[_size(bin["count"], most) for bin in some],
            hovertemplate="confidence %{x:.1%}, accuracy %{y:.1%}<br>%{text}<extra>%{fullData.name}</extra>",
            legendgroup=escape(name),
            **how,
        )
        for some, how in ((many, {}), (few, pale))
        if some
    ]


def _size(count: float, most: float) -> float:
    """Of a mark, from 3 pixels on; its area grows with the number of images."""
    return round(3 + 11 * math.sqrt(count / most), 1)


def confusion_map(name: str, confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> go.Figure:
    """Which classes (columns) a model takes the images of each class (rows) for; right answers are left out.

    Args:
        name: Of the model.
        confusion: (C, C), counts.
        classes: Their names; the first 100 are shown.
    """
    totals = [sum(row) for row in confusion]
    shares = [[count / total if total else None for count in row] for row, total in zip(confusion, totals, strict=True)]
    figure = heat_map(name, shares, classes)
    figure.update_xaxes(title_text="taken for")
    figure.update_traces(hovertemplate="%{y} taken for %{x}: %{z:.1%}<extra></extra>", colorbar_tickformat="~%")
    return figure


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
    figure.update_xaxes(tickformat="+~%")
    figure.update_yaxes(type="category", autorange="reversed", tickmode="linear", tickfont_size=11, showgrid=False)
    return figure
