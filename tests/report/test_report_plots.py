"""Figures: what plotly accepts, what is drawn, and colours that stand out from both papers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from stkd.report.plots.curves import Point, curves, dots, pareto, tradeoff
from stkd.report.plots.predictions import class_changes, confusion_map, heat_map, reliability
from stkd.report.plots.robustness import (
    by_corruption,
    by_severity,
    class_transition,
    confidences,
    corruption_map,
    lines_along,
)
from stkd.report.styles import COLOURS, INK, TEACHER, styles

STYLES = styles(["alone", "kd"])
BINS = [{"confidence": 0.3, "accuracy": 0.2, "count": 10}, {"confidence": 0.9, "accuracy": 0.95, "count": 90}]
RUNS = {
    "alone": [[{"epoch": 1, "test_top1": 0.2}, {"epoch": 2}, {"epoch": 3, "test_top1": 0.5}]] * 2,
    "kd": [[{"epoch": 3, "test_top1": 0.6}], [{"epoch": 3, "test_top1": float("nan")}, {"epoch": 4}]],
}
FIGURES: dict[str, Callable[[], Any]] = {
    "curves": lambda: curves(RUNS, "test_top1", "test accuracy", STYLES, 0.9),
    "nothing": lambda: curves({"kd": [[]]}, "test_top1", "test accuracy", STYLES, 0.9),
    "dots": lambda: dots({"alone": [0.4, 0.5], "kd": [0.6]}, "test accuracy", STYLES, 0.9),
    "tradeoff": lambda: tradeoff(
        [Point("alone", "a", 10, 0.5, 0.1, STYLES["alone"]), Point("t", "t", 900, 0.9, 0, TEACHER)], "x", "y"
    ),
    "reliability": lambda: reliability({"kd": BINS}, STYLES),
    "heat map": lambda: heat_map("kd", [[0.8, 0.2], [None, None]], ["a", "b"]),
    "confusion": lambda: confusion_map("kd", [[8, 2], [0, 0]], ["a", "b"]),
    "changes": lambda: class_changes([str(i) for i in range(50)], [i / 50 - 0.5 for i in range(50)], "kd minus alone"),
    "by severity": lambda: by_severity({"alone": [0.9, 0.5], "kd": [0.8, 0.6]}, STYLES),
    "by corruption": lambda: by_corruption({"kd": {"glass_blur": [0.4, 0.2], "fog": [0.6, 0.2]}}, STYLES),
    "corruptions": lambda: corruption_map("kd", {"glass_blur": [0.4, 0.2], "fog": [0.6, 0.2]}, 0.6),
    "confidences": lambda: confidences([0.25, 0.75], [1, 0], "<others>"),
    "along": lambda: lines_along([0, 0.5, 1], {"kd": [0.9, 0.5, 0.9]}, "same answer", STYLES, percent=True),
    "pair": lambda: class_transition([0, 1], ("<a>", "b"), {"kd": [[0.9, 0], [0, 0.8]]}, STYLES),
}


@pytest.mark.parametrize("name", FIGURES)
def test_plotly_knows_every_property(name: str) -> None:
    """Plotly checks each name and value when a figure is made."""
    plain = json.loads(FIGURES[name]().to_json())
    assert plain["layout"]["height"] > 100
    assert {trace["type"] for trace in plain["data"]} <= {"scatter", "heatmap", "bar"}
    assert len(plain["data"]) >= 1


def test_curves_are_means_over_the_epochs_that_all_seeds_have() -> None:
    lines = [t for t in FIGURES["curves"]().data if t.name]
    assert [(t.name, t.x, t.y) for t in lines] == [("alone", (1, 3), (0.2, 0.5))]


def test_the_teacher_is_a_dotted_line_that_the_axis_reaches() -> None:
    for name, axis in (("curves", "y"), ("nothing", "y"), ("dots", "x")):
        figure = FIGURES[name]()
        (shape,) = figure.layout.shapes
        assert (shape[f"{axis}0"], shape[f"{axis}1"], shape.line.color) == (0.9, 0.9, INK)
        assert figure.layout.annotations[0].text == "teacher"
        assert figure.data[-1][axis] == (0.9,)


def test_accuracies_under_corruptions_are_means_over_severities() -> None:
    (marks,) = FIGURES["by corruption"]().data
    assert marks.y == ("glass blur", "fog")
    assert marks.x == pytest.approx([0.3, 0.4])


def test_names_in_figures_of_other_images_are_text() -> None:
    for name in ("confidences", "pair"):
        figure = FIGURES[name]()
        assert "<" not in str([t.name for t in figure.data]) + str(figure.layout.xaxis.title.text)


def test_pareto_front() -> None:
    assert pareto([(3, 0.9), (1, 0.5), (2, 0.4), (2, 0.7), (4, 0.9)]) == [1, 3, 0]


def test_many_classes_are_cut_to_the_largest_changes() -> None:
    (bars,) = FIGURES["changes"]().data
    assert len(bars.x) == 30
    assert bars.x[0] == max(bars.x)
    assert bars.x[-1] == -0.5


def test_no_two_methods_look_alike() -> None:
    many = styles(str(i) for i in range(28))
    assert len({(style.colour, style.dash) for style in many.values()}) == 28
    assert len({(style.colour, style.symbol) for style in many.values()}) == 28


@pytest.mark.parametrize("paper", ["#ffffff", "#14181f"])
@pytest.mark.parametrize("colour", COLOURS)
def test_contrast_of_graphics_is_three_to_one(colour: str, paper: str) -> None:
    """WCAG 2.2, success criterion 1.4.11."""

    def luminance(text: str) -> float:
        shares = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
        return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    light, dark = sorted((luminance(colour), luminance(paper)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


def test_bins_of_few_images_are_pale_and_joined_to_nothing() -> None:
    few = [*BINS, {"confidence": 0.5, "accuracy": 1.0, "count": 1}]
    _, joined, pale = reliability({"kd": few}, STYLES).data
    assert (joined.mode, joined.x) == ("lines+markers", (0.3, 0.9))
    assert (pale.mode, pale.x, pale.opacity, pale.showlegend) == ("markers", (0.5,), 0.35, False)
    assert pale.text == ("1 image",)
    (_, alone) = reliability({"kd": few[2:]}, STYLES).data
    assert alone.showlegend  # where it is all that there is


@pytest.mark.parametrize(("epochs", "step"), [(3, 1), (10, 1), (30, 5), (300, None)])
def test_epochs_are_counted_in_whole_numbers(epochs: int, step: int | None) -> None:
    rows = [{"epoch": i + 1, "test_top1": 0.5} for i in range(epochs)]
    assert curves({"kd": [rows]}, "test_top1", "test accuracy", STYLES).layout.xaxis.dtick == step


def test_ticks_of_changes_show_halves_of_points() -> None:
    assert "~" in FIGURES["changes"]().layout.xaxis.tickformat


def test_a_confusion_is_shares_of_the_true_class_without_the_right_answers() -> None:
    (heat,) = confusion_map("kd", [[6, 2], [0, 0]], ["a", "<b>"]).data
    assert list(map(list, heat.z)) == [[None, 0.25], [None, None]]
    assert "<b>" not in str(heat.x)
