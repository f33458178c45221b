"""Figures of predictions for images unlike those of training: corrupted ones, those of another data set, mixed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from statistics import mean

import plotly.graph_objects as go

from ..styles import COLOURS, Style, translucent
from .frame import framed, line

__all__ = ["by_corruption", "by_severity", "class_transition", "confidences", "corruption_map", "lines_along"]

Accuracies = Mapping[str, Sequence[float]]
"""A corruption's name and its accuracies, mildest first."""


def by_severity(models: Mapping[str, Sequence[float]], styles: Mapping[str, Style]) -> go.Figure:
    """Mean accuracy over all corruptions at each severity, from 0, which is the images themselves."""
    severities = list(range(max(map(len, models.values()))))
    hover = "severity %{x}: %{y:.1%}<extra>%{fullData.name}</extra>"
    lines = [line(name, severities, values, styles[name], hovertemplate=hover) for name, values in models.items()]
    figure = framed(lines, "severity (0: not corrupted)", "accuracy")
    figure.update_xaxes(tickvals=severities)
    figure.update_yaxes(rangemode="tozero")
    return figure


def by_corruption(models: Mapping[str, Accuracies], styles: Mapping[str, Style]) -> go.Figure:
    """Mean accuracy over the severities of each corruption, a mark for each model."""
    names = list(next(iter(models.values())))
    marks = [
        go.Scatter(
            mode="markers",
            name=escape(who),
            x=[mean(accuracies[name]) for name in names],
            y=[_words(name) for name in names],
            marker={"color": styles[who].colour, "symbol": styles[who].symbol, "size": 10},
            hovertemplate="%{y}: %{x:.1%}<extra>%{fullData.name}</extra>",
        )
        for who, accuracies in models.items()
    ]
    figure = framed(marks, "accuracy", "", height=120 + 22 * len(names))
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(autorange="reversed", tickmode="linear", tickfont_size=11)
    return figure


def corruption_map(name: str, accuracies: Accuracies, largest: float) -> go.Figure:
    """Accuracy of one model under each corruption (rows) at each severity (columns).

    Args:
        name: Of the model.
        accuracies: Of the model.
        largest: Accuracy at which the colours end, the same for all models.
    """
    heat = go.Heatmap(
        name=escape(name),
        x=[str(i + 1) for i in range(max(map(len, accuracies.values())))],
        y=[_words(corruption) for corruption in accuracies],
        z=[list(row) for row in accuracies.values()],
        zmin=0,
        zmax=largest,
        colorscale="Viridis",
        showscale=False,  # every cell says its number
        texttemplate="%{z:.0%}",
        textfont_size=11,
        hovertemplate="%{y}, severity %{x}: %{z:.1%}<extra></extra>",
    )
    figure = framed([heat], "severity", "", height=100 + 22 * len(accuracies))
    ticks = {"type": "category", "showgrid": False, "tickmode": "linear", "tickfont_size": 11}
    figure.update_xaxes(**ticks)
    figure.update_yaxes(autorange="reversed", **ticks)
    return figure


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def confidences(own: Sequence[float], foreign: Sequence[float], data: str) -> go.Figure:
    """Histograms of a model's confidence on its own images and on those of another data set.

    Args:
        own, foreign: Share of the images in equal bins of confidence from 0 to 1.
        data: Name of the other data set.
    """
    steps = [
        go.Scatter(
            mode="lines",
            name=escape(name),
            x=[i / len(shares) for i in range(len(shares) + 1)],
            y=[*shares, shares[-1]],  # the step of the last bin ends at 1
            line={"color": colour, "dash": dash, "shape": "hv", "width": 2},
            fill="tozeroy",
            fillcolor=translucent(colour),
            hovertemplate="confidence from %{x:.0%} on: %{y:.1%} of the images<extra>%{fullData.name}</extra>",
        )
        for name, shares, colour, dash in (
            ("own images", own, COLOURS[2], "solid"),
            (data, foreign, COLOURS[1], "dash"),
        )
    ]
    figure = framed(steps, "confidence", "share of images", height=320)
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    figure.update_yaxes(rangemode="tozero", tickformat="~%")
    return figure


def lines_along(
    lambdas: Sequence[float],
    models: Mapping[str, Sequence[float]],
    label: str,
    styles: Mapping[str, Style],
    *,
    percent: bool,
) -> go.Figure:
    """A measure of virtual samples by the weight of the second image, a line for each model.

    Args:
        lambdas: Weights of the second image, L.
        models: Name to its L values.
        label: Of the y axis.
        styles: Of the models.
        percent: Whether the values are shares.
    """
    lines = [line(name, lambdas, values, styles[name]) for name, values in models.items()]
    figure = framed(lines, "weight of the second image (λ)", label, height=320)
    figure.update_xaxes(tickvals=list(lambdas))
    figure.update_yaxes(rangemode="tozero", tickformat="~%" if percent else None)
    return figure.update_layout(showlegend=len(lines) > 1)


def class_transition(
    lambdas: Sequence[float],
    classes: tuple[str, str],
    models: Mapping[str, Sequence[Sequence[float]]],
    styles: Mapping[str, Style],
) -> go.Figure:
    """Mean probabilities of two classes along virtual samples from images of one to images of the other.

    Args:
        lambdas: Weights of the second image, L.
        classes: Names of the first and the second.
        models: Name to the probabilities of both, (L, 2).
        styles: Of the models; the classes have the colours.
    """
    lines = [
        line(
            f"{name}: {label}",
            lambdas,
            [probabilities[i] for probabilities in rows],
            styles[name],
            line_color=colour,
            marker={"color": colour, "size": 6},
            legendgroup=f"class {i}",  # a column of the legend
        )
        for i, (label, colour) in enumerate(zip(classes, (COLOURS[2], COLOURS[1]), strict=True))
        for name, rows in models.items()
    ]
    figure = framed(lines, f"weight of the image of {classes[1]}", "probability (T = 4)")
    figure.update_xaxes(tickvals=list(lambdas))
    figure.update_yaxes(rangemode="tozero", tickformat="~%")
    return figure.update_layout(legend={"font_size": 11, "tracegroupgap": 0, "groupclick": "toggleitem"})
