"""Figures of scores: curves over epochs, every seed as a dot, accuracy against size or speed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import mean, stdev
from typing import Any

import plotly.graph_objects as go

from ..styles import INK, TEACHER, Style, translucent
from .frame import framed, line

__all__ = ["Point", "Rows", "curves", "dots", "pareto", "tradeoff"]

_FEW_EPOCHS = 40

Rows = Sequence[Mapping[str, Any]]
"""Metrics of a run, a row for each epoch."""


@dataclass(frozen=True)
class Point:
    """A model with its cost and its score.

    Attributes:
        name: Of its series.
        label: Which of the series it is.
        cost, score: x and y.
        spread: Standard deviation of the score.
        style: Of the series.
    """

    name: str
    label: str
    cost: float
    score: float
    spread: float
    style: Style


def curves(
    runs: Mapping[str, Sequence[Rows]],
    metric: str,
    label: str,
    styles: Mapping[str, Style],
    teacher: float | None = None,
) -> go.Figure:
    """Mean and range of a metric over epochs.

    Args:
        runs: Name to the metrics of its seeds.
        metric: Name in those rows; rows without it are passed over.
        label: Of the y axis.
        styles: Name to its style.
        teacher: The teacher's level, drawn as a dotted line.
    """
    bands, lines = [], []
    for name, seeds in runs.items():
        by_epoch = [{int(r["epoch"]): float(r[metric]) for r in rows if _is_finite(r.get(metric))} for rows in seeds]
        epochs = sorted(set.intersection(*map(set, by_epoch))) if by_epoch else []
        if not epochs:
            continue
        values = [[seed[epoch] for seed in by_epoch] for epoch in epochs]
        style = styles[name]
        if len(seeds) > 1:
            edge = {"mode": "lines", "line_width": 0, "hoverinfo": "skip", "showlegend": False}
            edge |= {"x": epochs, "legendgroup": escape(name)}
            fill = {"fill": "tonexty", "fillcolor": translucent(style.colour)}
            bands += [
                go.Scatter(y=[max(v) for v in values], **edge),
                go.Scatter(y=[min(v) for v in values], **fill, **edge),
            ]
        lines.append(
            line(
                name,
                epochs,
                [mean(v) for v in values],
                style,
                mode="lines+markers" if len(epochs) < 4 else "lines",
                line_width=2.5,
                marker_size=9,
                hovertemplate="epoch %{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
            )
        )
    figure = framed([*bands, *lines], "epoch", label)  # lines after all bands, so that none is hidden
    last = max((epoch for shown in lines for epoch in shown.x), default=0)
    if last <= _FEW_EPOCHS:  # of more, plotly chooses whole numbers by itself
        figure.update_xaxes(tick0=0, dtick=1 if last <= 10 else 5)
    if len(lines) == 1:
        figure.update_layout(showlegend=False)
    return _with_teacher(figure, teacher, "y")


def dots(
    values: Mapping[str, Sequence[float]], label: str, styles: Mapping[str, Style], teacher: float | None = None
) -> go.Figure:
    """Every seed as a dot, mean and standard deviation beside them.

    Args:
        values: Name to its values, one a seed.
        label: Of the x axis.
        styles: Name to its style.
        teacher: The teacher's level.
    """
    traces = []
    for name, scores in values.items():
        colour, row = styles[name].colour, escape(name)
        spread = stdev(scores) if len(scores) > 1 else 0.0
        traces += [
            go.Scatter(
                name=row,
                x=list(scores),
                y=[row] * len(scores),
                marker={"color": colour, "opacity": 0.45, "size": 9},
                hovertemplate="%{x:.2%}<extra>%{y}</extra>",
            ),
            go.Scatter(
                name=f"{row}, mean",
                x=[mean(scores)],
                y=[row],
                marker={"color": colour, "size": 13, "symbol": "diamond"},
                error_x={"type": "data", "array": [spread], "color": colour},
                hovertemplate="mean %{x:.2%}<extra>%{y}</extra>",
            ),
        ]
    figure = framed(traces, label, "", height=150 + 38 * len(values))
    figure.update_traces(mode="markers", showlegend=False)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    return _with_teacher(figure, teacher, "x")


def tradeoff(points: Sequence[Point], x: str, y: str) -> go.Figure:
    """A score against a cost, and the line of those that no other beats in both.

    Args:
        points: What to draw; those of one series are joined. x is logarithmic where it spans more than a factor of 5.
        x, y: Titles of the axes; small x and large y are good.
    """
    front = [points[i] for i in pareto([(p.cost, p.score) for p in points])]
    traces = [
        go.Scatter(
            mode="lines",
            x=[p.cost for p in front],
            y=[p.score for p in front],
            line={"color": INK, "width": 1, "dash": "dot", "shape": "hv"},
            hoverinfo="skip",
            showlegend=False,
        )
    ]
    for name in dict.fromkeys(p.name for p in points):
        series = sorted((p for p in points if p.name == name), key=lambda p: p.cost)
        style = series[0].style
        traces.append(
            line(
                name,
                [p.cost for p in series],
                [p.score for p in series],
                style,
                mode="lines+markers" if len(series) > 1 else "markers",
                text=[escape(p.label) for p in series],
                line_width=1,
                marker_size=11,
                error_y={"type": "data", "array": [p.spread for p in series], "color": style.colour, "thickness": 1},
                hovertemplate=f"%{{text}}<br>{escape(x)} %{{x:,.4g}}<br>{escape(y)} %{{y:.2%}}"
                "<extra>%{fullData.name}</extra>",
            )
        )
    figure = framed(traces, x, y)
    costs = [p.cost for p in points]
    if min(costs) > 0 and max(costs) / min(costs) > 5:
        ticks = [m * 10**e for e in range(-3, 15) for m in (1, 2, 5)]
        inside = [t for t in ticks if min(costs) / 2.5 <= t <= max(costs) * 2.5]
        figure.update_xaxes(type="log", tickvals=inside, ticktext=[_short(t) for t in inside])
    return figure


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the points (x, y) for which none has a smaller or equal x and a larger y, by rising x."""
    front, highest = [], -math.inf
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > highest:
            front.append(i)
            highest = points[i][1]
    return front


def _with_teacher(figure: go.Figure, level: float | None, axis: str) -> go.Figure:
    """A dotted line across the figure at the teacher's level."""
    if level is None:
        return figure
    style = {"line": {"color": TEACHER.colour, "dash": TEACHER.dash, "width": 1.5}, "annotation_text": "teacher"}
    if axis == "y":
        figure.add_hline(level, annotation_position="top right", **style)
    else:
        figure.add_vline(level, annotation_position="top", **style)
    # an invisible point, so that the axis reaches as far as the line
    across = list(figure.data[-1]["x" if axis == "y" else "y"][:1]) if figure.data else [0]
    place = {"x": across, "y": [level]} if axis == "y" else {"x": [level], "y": across}
    return figure.add_scatter(**place, mode="markers", marker_opacity=0, hoverinfo="skip", showlegend=False)


def _short(number: float) -> str:
    """A round number in few characters."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
