"""What all figures have in common: titles of the axes, margins, and a legend above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from ..styles import Style

__all__ = ["framed", "line"]


def framed(traces: Sequence[Any], x: str, y: str, height: int = 380) -> go.Figure:
    """A figure of some traces.

    Args:
        traces: Of plotly.
        x, y: Titles of the axes, as text; accuracies are shown in per cent.
        height: In pixels.
    """
    for trace in traces:
        if trace.type == "scatter" and trace.legendgroup is None:
            trace.legendgroup = trace.name  # plotly wraps groups, but stacks single entries
    return go.Figure(
        traces,
        {
            "template": {},
            "height": height,
            "margin": {"l": 60, "r": 20, "t": 20, "b": 50},
            "xaxis": _axis(x),
            "yaxis": _axis(y),
            "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.03, "yanchor": "bottom"},
            "hovermode": "closest",
            "hoverlabel": {"namelength": -1},
        },
    )


def _axis(title: str) -> Mapping[str, Any]:
    return {"title": {"text": escape(title)}, "tickformat": "~%" if title.endswith("accuracy") else None}


def line(name: str, x: Sequence[float], y: Sequence[float], style: Style, **options: Any) -> go.Scatter:
    """A line with marks in the style of a model.

    Args:
        name: In the legend, as text.
        x, y: Of its points.
        style: Of the model.
        options: Further properties of plotly's Scatter.
    """
    return go.Scatter(
        mode="lines+markers",
        name=escape(name),
        x=list(x),
        y=list(y),
        line={"color": style.colour, "dash": style.dash, "width": 2},
        marker={"color": style.colour, "symbol": style.symbol, "size": 8},
        hovertemplate="%{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
    ).update(options)
