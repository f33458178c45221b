"""Figures of what models do with images that are unlike those they learned from: corrupted, foreign, mixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .looks import COLOURS, Look, faint
from .plots import framed

__all__ = ["by_corruption", "by_severity", "confidences", "corruption_map", "lines_along", "pair_along"]

Accuracies = Mapping[str, Sequence[float]]
"""A corruption's name and its accuracies, mildest first."""


def by_severity(models: Mapping[str, Sequence[float]], looks: Mapping[str, Look]) -> dict[str, Any]:
    """Mean accuracy over all corruptions at each severity, from 0, which is the images themselves."""
    severities = range(max(map(len, models.values())))
    lines = [_line(name, list(severities), values, looks[name]) for name, values in models.items()]
    for line in lines:
        line["hovertemplate"] = "severity %{x}: %{y:.1%}<extra>%{fullData.name}</extra>"
    plot = framed(lines, "severity (0: not corrupted)", "accuracy")
    plot["layout"]["xaxis"] |= {"tickvals": list(severities)}
    plot["layout"]["yaxis"] |= {"rangemode": "tozero"}
    return plot


def by_corruption(models: Mapping[str, Accuracies], looks: Mapping[str, Look]) -> dict[str, Any]:
    """Mean accuracy over the severities of each corruption, a mark for each model."""
    names = list(next(iter(models.values())))
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": escape(who),
            "x": [sum(found[name]) / len(found[name]) for name in names],
            "y": [_words(name) for name in names],
            "marker": {"color": looks[who].colour, "symbol": looks[who].symbol, "size": 10},
            "hovertemplate": "%{y}: %{x:.1%}<extra>%{fullData.name}</extra>",
        }
        for who, found in models.items()
    ]
    plot = framed(data, "accuracy", "", height=120 + 22 * len(names))
    plot["layout"]["xaxis"] |= {"rangemode": "tozero"}
    plot["layout"]["yaxis"] |= {"autorange": "reversed", "tickmode": "linear", "tickfont": {"size": 11}}
    return plot


def corruption_map(name: str, found: Accuracies, most: float) -> dict[str, Any]:
    """Accuracy of one model under each corruption (rows) at each severity (columns).

    Args:
        name: Of the model.
        found: What it got right.
        most: Accuracy at which the colours end, the same for all models.
    """
    rows = list(found)
    columns = range(1, 1 + max(map(len, found.values())))
    data: dict[str, Any] = {
        "type": "heatmap",
        "name": escape(name),
        "x": [str(severity) for severity in columns],
        "y": [_words(row) for row in rows],
        "z": [list(found[row]) for row in rows],
        "zmin": 0,
        "zmax": most,
        "colorscale": "Viridis",
        "showscale": False,  # every cell says its number
        "texttemplate": "%{z:.0%}",
        "textfont": {"size": 11},
        "hovertemplate": "%{y}, severity %{x}: %{z:.1%}<extra></extra>",
    }
    plot = framed([data], "severity", "", height=100 + 22 * len(rows))
    for axis in ("xaxis", "yaxis"):
        plot["layout"][axis] |= {"type": "category", "showgrid": False, "tickmode": "linear", "tickfont": {"size": 11}}
    plot["layout"]["yaxis"]["autorange"] = "reversed"
    return plot


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def confidences(own: Sequence[float], foreign: Sequence[float], what: str) -> dict[str, Any]:
    """How sure a model is of its own images and of foreign ones.

    Args:
        own, foreign: Share of the images in equal bins of confidence from 0 to 1.
        what: Name of the foreign images.
    """
    data = []
    for label, shares, colour, dash in (
        ("own images", own, COLOURS[2], "solid"),
        (escape(what), foreign, COLOURS[1], "dash"),
    ):
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": label,
                "x": [i / len(shares) for i in range(len(shares) + 1)],
                "y": [*shares, shares[-1]],  # the step of the last bin ends at 1
                "line": {"color": colour, "dash": dash, "shape": "hv", "width": 2},
                "fill": "tozeroy",
                "fillcolor": faint(colour),
                "hovertemplate": "confidence from %{x:.0%} on: %{y:.1%} of the images<extra>%{fullData.name}</extra>",
            }
        )
    plot = framed(data, "confidence", "share of images", height=320)
    plot["layout"]["xaxis"] |= {"range": [0, 1], "tickformat": ".0%"}
    plot["layout"]["yaxis"] |= {"rangemode": "tozero", "tickformat": "~%"}
    return plot


def lines_along(
    lambdas: Sequence[float], models: Mapping[str, Sequence[float]], label: str, looks: Mapping[str, Look]
) -> dict[str, Any]:
    """A measure of virtual samples by the weight of the second image, a line for each model."""
    lines = [_line(name, list(lambdas), values, looks[name]) for name, values in models.items()]
    plot = framed(lines, "weight of the second image (λ)", label, height=320)
    plot["layout"]["xaxis"] |= {"tickvals": list(lambdas)}
    plot["layout"]["yaxis"] |= {"rangemode": "tozero", **({} if "nats" in label else {"tickformat": "~%"})}
    plot["layout"]["showlegend"] = len(lines) > 1
    return plot


def pair_along(
    lambdas: Sequence[float],
    classes: tuple[str, str],
    models: Mapping[str, Sequence[Sequence[float]]],
    looks: Mapping[str, Look],
) -> dict[str, Any]:
    """How the mean probability goes over from one class to another between their images.

    Args:
        lambdas: Weights of the second image, L.
        classes: Names of the first and the second.
        models: Name to the probabilities of both, (L, 2).
        looks: Of the models; the classes have the colours.
    """
    lines = []
    for i, (what, colour) in enumerate(zip(classes, (COLOURS[2], COLOURS[1]), strict=True)):
        for name, rows in models.items():
            line = _line(f"{name}: {what}", list(lambdas), [row[i] for row in rows], looks[name])
            line["line"] |= {"color": colour}
            line["marker"] |= {"color": colour, "size": 6}
            line["legendgroup"] = f"class {i}"  # a column of the legend
            lines.append(line)
    plot = framed(lines, f"weight of the image of {classes[1]}", "probability (T = 4)")
    plot["layout"]["xaxis"] |= {"tickvals": list(lambdas)}
    plot["layout"]["yaxis"] |= {"rangemode": "tozero", "tickformat": "~%"}
    plot["layout"]["legend"] |= {"font": {"size": 11}, "tracegroupgap": 0, "groupclick": "toggleitem"}
    return plot


def _line(name: str, x: Sequence[float], y: Sequence[float], look: Look) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": escape(name),
        "x": list(x),
        "y": list(y),
        "line": {"color": look.colour, "dash": look.dash, "width": 2},
        "marker": {"color": look.colour, "symbol": look.symbol, "size": 8},
        "hovertemplate": "%{x}: %{y:.4g}<extra>%{fullData.name}</extra>",
    }
