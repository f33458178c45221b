"""Curves over epochs, a line for each method with a band over seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

__all__ = ["COLOURS", "curves", "dots"]

# Okabe and Ito's palette, which colour-blind readers can tell apart.
COLOURS = ("#7f7f7f", "#e69f00", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")


def curves(runs: Mapping[str, Sequence[Sequence[Mapping[str, float]]]], metric: str, label: str, top: float) -> Any:
    """Mean and range of a metric over epochs.

    Args:
        runs: Method to the metrics of its seeds, each one row per epoch.
        metric: Name in those rows; rows without it are passed over.
        label: Of the y axis.
        top: A level to compare with, drawn as a dotted line (the teacher's).
    """
    import plotly.graph_objects as go

    plot = go.Figure()
    lines = []
    for colour, (name, seeds) in zip(COLOURS, runs.items(), strict=False):
        epochs = [int(r["epoch"]) for r in seeds[0] if metric in r]
        values = list(zip(*([r[metric] for r in rows if metric in r] for rows in seeds), strict=True))
        band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "legendgroup": name}
        plot.add_scatter(x=epochs, y=[max(v) for v in values], **band)
        plot.add_scatter(x=epochs, y=[min(v) for v in values], fill="tonexty", fillcolor=_faint(colour), **band)
        lines.append(
            {"x": epochs, "y": [mean(v) for v in values], "name": name, "line": {"color": colour, "width": 2.5}}
        )
    for line in lines:  # after all bands, so that none is hidden
        plot.add_scatter(**line, mode="lines", legendgroup=line["name"])
    plot.add_hline(y=top, line={"dash": "dot", "color": "#999999"}, annotation_text="teacher")
    return _framed(plot, "epoch", label)


def dots(values: Mapping[str, Sequence[float]], label: str, top: float) -> Any:
    """Every seed as a dot, mean and standard deviation beside them.

    Args:
        values: Method to its values, one a seed.
        label: Of the x axis.
        top: A level to compare with (the teacher's).
    """
    import plotly.graph_objects as go

    plot = go.Figure()
    for colour, (name, found) in zip(COLOURS, values.items(), strict=False):
        plot.add_scatter(
            x=list(found),
            y=[name] * len(found),
            mode="markers",
            marker={"color": colour, "opacity": 0.45, "size": 9},
            name=name,
            showlegend=False,
        )
        plot.add_scatter(
            x=[mean(found)],
            y=[name],
            mode="markers",
            marker={"color": colour, "size": 13, "symbol": "diamond"},
            error_x={"type": "data", "array": [stdev(found) if len(found) > 1 else 0], "color": colour},
            name=f"{name}, mean and standard deviation",
            showlegend=False,
        )
    plot.add_vline(x=top, line={"dash": "dot", "color": "#999999"}, annotation_text="teacher")
    plot.update_yaxes(autorange="reversed")
    return _framed(plot, label, "")


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.12)"


def _framed(plot: Any, x: str, y: str) -> Any:
    plot.update_layout(
        template="plotly_white",
        height=380,
        margin={"l": 70, "r": 30, "t": 30, "b": 50},
        xaxis_title=x,
        yaxis_title=y,
        legend={"orientation": "h", "y": 1.12},
        font={"size": 14},
    )
    return plot
