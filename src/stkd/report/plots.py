"""Figures of scores: curves over epochs, every seed as a dot, accuracy against size or speed.

A figure is data and layout as plotly.js takes them; the page's script adds what depends on the paper's colour.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from statistics import mean, stdev
from typing import Any

from .looks import TEACHER, Look, faint

__all__ = ["Point", "Rows", "curves", "dots", "framed", "tradeoff"]

Rows = Sequence[Mapping[str, Any]]
"""Metrics of a run, a row for each epoch."""

Trace = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """A model that cost something and scored something.

    Attributes:
        name: Of its series.
        what: Which of the series it is.
        cost, score: x and y.
        spread: Standard deviation of the score.
        look: Of the series.
    """

    name: str
    what: str
    cost: float
    score: float
    spread: float
    look: Look


def curves(
    runs: Mapping[str, Sequence[Rows]], metric: str, label: str, looks: Mapping[str, Look], top: float | None = None
) -> dict[str, Any]:
    """Mean and range of a metric over epochs.

    Args:
        runs: Name to the metrics of its seeds.
        metric: Name in those rows; rows without it are passed over.
        label: Of the y axis.
        looks: Name to its look.
        top: A level to compare with, drawn as a dotted line (the teacher's).
    """
    bands: list[Trace] = []
    lines: list[Trace] = []
    for name, seeds in runs.items():
        found = [{int(r["epoch"]): float(r[metric]) for r in rows if _finite(r.get(metric))} for rows in seeds]
        epochs = sorted(set.intersection(*map(set, found))) if found else []
        if not epochs:
            continue
        values = [[of[epoch] for of in found] for epoch in epochs]
        look = looks[name]
        if len(seeds) > 1:
            edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
            group = {"type": "scatter", "x": epochs, "legendgroup": escape(name), **edge}
            bands += [
                {**group, "y": [max(v) for v in values]},
                {**group, "y": [min(v) for v in values], "fill": "tonexty", "fillcolor": faint(look.colour)},
            ]
        lines.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(epochs) < 4 else "lines",
                "name": escape(name),
                "x": epochs,
                "y": [mean(v) for v in values],
                "line": {"color": look.colour, "dash": look.dash, "width": 2.5},
                "marker": {"symbol": look.symbol, "size": 9},
                "hovertemplate": "epoch %{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
            }
        )
    plot = framed([*bands, *lines], "epoch", label)  # lines after all bands, so that none is hidden
    if len(lines) == 1:
        plot["layout"]["showlegend"] = False
    return _with_level(plot, top, "y")


def dots(
    values: Mapping[str, Sequence[float]], label: str, looks: Mapping[str, Look], top: float | None = None
) -> dict[str, Any]:
    """Every seed as a dot, mean and standard deviation beside them.

    Args:
        values: Name to its values, one a seed.
        label: Of the x axis.
        looks: Name to its look.
        top: A level to compare with (the teacher's).
    """
    data: list[Trace] = []
    for name, found in values.items():
        look, row = looks[name], escape(name)
        common = {"type": "scatter", "mode": "markers", "showlegend": False}
        data.append(
            {
                **common,
                "name": row,
                "x": list(found),
                "y": [row] * len(found),
                "marker": {"color": look.colour, "opacity": 0.45, "size": 9},
                "hovertemplate": "%{x:.2%}<extra>%{y}</extra>",
            }
        )
        data.append(
            {
                **common,
                "name": f"{row}, mean",
                "x": [mean(found)],
                "y": [row],
                "marker": {"color": look.colour, "size": 13, "symbol": "diamond"},
                "error_x": {"type": "data", "array": [_spread(found)], "color": look.colour},
                "hovertemplate": "mean %{x:.2%}<extra>%{y}</extra>",
            }
        )
    plot = framed(data, label, "")
    plot["layout"]["height"] = 150 + 38 * len(values)
    plot["layout"]["yaxis"] |= {"autorange": "reversed", "showgrid": False}
    return _with_level(plot, top, "x")


def tradeoff(points: Sequence[Point], x: str, y: str) -> dict[str, Any]:
    """A score against what it costs, and the line of those that none beats in both.

    Args:
        points: What to draw; those of one series are joined. x is logarithmic where it spans more than a factor of 5.
        x, y: Labels of the axes; small x and large y are good.
    """
    front = [points[i] for i in pareto([(p.cost, p.score) for p in points])]
    data: list[Trace] = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": [p.cost for p in front],
            "y": [p.score for p in front],
            "line": {"color": "var(--ink)", "width": 1, "dash": "dot", "shape": "hv"},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    ]
    for name in dict.fromkeys(p.name for p in points):
        series = sorted((p for p in points if p.name == name), key=lambda p: p.cost)
        look = series[0].look
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if len(series) > 1 else "markers",
                "name": escape(name),
                "x": [p.cost for p in series],
                "y": [p.score for p in series],
                "text": [escape(p.what) for p in series],
                "line": {"color": look.colour, "width": 1, "dash": look.dash},
                "marker": {"color": look.colour, "symbol": look.symbol, "size": 11},
                "error_y": {"type": "data", "array": [p.spread for p in series], "color": look.colour, "thickness": 1},
                "hovertemplate": f"%{{text}}<br>{escape(x)} %{{x:,.4g}}<br>{escape(y)} %{{y:.2%}}"
                "<extra>%{fullData.name}</extra>",
            }
        )
    plot = framed(data, x, y)
    costs = [p.cost for p in points]
    if min(costs) > 0 and max(costs) / min(costs) > 5:
        ticks = [m * 10**e for e in range(-3, 15) for m in (1, 2, 5)]
        inside = [t for t in ticks if min(costs) / 2.5 <= t <= max(costs) * 2.5]
        plot["layout"]["xaxis"] |= {"type": "log", "tickvals": inside, "ticktext": [_short(t) for t in inside]}
    return plot


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the points (x, y) for which none has a smaller or equal x and a larger y, by rising x."""
    best, highest = [], -math.inf
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > highest:
            best.append(i)
            highest = points[i][1]
    return best


def framed(data: list[Trace], x: str, y: str, height: int = 380) -> dict[str, Any]:
    """Traces with titles of the axes and a legend above, which grows upwards where it has many lines."""
    layout: dict[str, Any] = {
        "height": height,
        "margin": {"l": 60, "r": 20, "t": 20, "b": 50},
        "xaxis": _axis(x),
        "yaxis": _axis(y),
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.03, "yanchor": "bottom"},
        "hovermode": "closest",
        "hoverlabel": {"namelength": -1},
    }
    for trace in data:
        trace.setdefault("legendgroup", trace.get("name"))  # plotly wraps groups, but stacks single entries
    return {"data": data, "layout": layout}


def _axis(title: str) -> Trace:
    share = {"tickformat": "~%"} if title.endswith("accuracy") else {}
    return {"title": {"text": escape(title)}, **share}


def _with_level(plot: dict[str, Any], level: float | None, axis: str) -> dict[str, Any]:
    """A dotted line across the figure, for the teacher."""
    if level is None:
        return plot
    across = {"x0": 0, "x1": 1, "xref": "paper"} if axis == "y" else {"y0": 0, "y1": 1, "yref": "paper"}
    along = {f"{axis}0": level, f"{axis}1": level, f"{axis}ref": axis}
    line = {"color": TEACHER.colour, "dash": TEACHER.dash, "width": 1.5}
    where = {"x": 1, "xref": "paper", "xanchor": "right", "y": level, "yanchor": "bottom"}
    if axis == "x":
        where = {"x": level, "y": 1, "yref": "paper", "yanchor": "bottom", "xanchor": "center"}
    plot["layout"]["shapes"] = [{"type": "line", **across, **along, "line": line}]
    plot["layout"]["annotations"] = [{"text": "teacher", "showarrow": False, **where}]
    # an invisible point, so that the axis reaches as far as the line
    ghost: Trace = {"type": "scatter", "mode": "markers", "marker": {"opacity": 0}, "hoverinfo": "skip"}
    other = plot["data"][-1]["x" if axis == "y" else "y"][:1] if plot["data"] else [0]
    plot["data"].append(
        {**ghost, axis: [level] * len(other), ("x" if axis == "y" else "y"): other, "showlegend": False}
    )
    return plot


def _short(number: float) -> str:
    """A round number in few characters."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return f"{number:g}"


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
