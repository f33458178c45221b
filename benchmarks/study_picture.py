"""Draw docs/study.svg, the map of KD and STKD over the length of training, from results/study_digits.json.

python benchmarks/study_picture.py       (a test checks that the picture is what this draws; needs matplotlib)
"""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib
from drawing import STYLE, svg
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from stkd.report.styles import COLOURS

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "study.svg"
LOOKS = {"kd": ("KD", COLOURS[3], "s"), "stkd": ("STKD", COLOURS[1], "D")}
"""Name, colour and mark of each arm."""


def draw() -> str:
    """The picture as SVG: a panel for each student and number of images, accuracy over steps, bands over seeds."""
    result = json.loads((ROOT / "results" / "study_digits.json").read_text())
    steps = {int(images): number for images, number in result["protocol"]["steps"].items()}
    named = [(_place(name), arms) for name, arms in result["cells"].items()]
    students = list(dict.fromkeys(student for (_, student, _), _ in named))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 5.6), layout="constrained")
        axes = figure.subplots(len(steps), len(students), sharex=True, squeeze=False)
        for (row, images), (column, student) in product(enumerate(steps), enumerate(students)):
            lengths = {epochs: arms for (i, s, epochs), arms in named if (i, s) == (images, student)}
            _panel(axes[row, column], lengths, steps[images])
            axes[row, column].set_title(f"{student}, {images} images", fontsize=10)
        for panel in axes[:, 0]:
            panel.set_ylabel("test accuracy (%)")
        for panel in axes[-1]:
            panel.set_xlabel("steps")
        axes[0, 0].legend(loc="lower right", frameon=False)
        return svg(figure)


def _place(name: str) -> tuple[int, str, int]:
    images, student, epochs = name.split(", ")
    return int(images.split()[0]), student, int(epochs.split()[0])


def _panel(panel: Axes, lengths: dict[int, dict[str, Any]], steps: int) -> None:
    for arm, (name, colour, mark) in LOOKS.items():
        scores = {epochs * steps: arms[arm]["top1"] for epochs, arms in lengths.items() if arm in arms}
        means = [100 * score["mean"] for score in scores.values()]
        spread = [100 * (score["std"] or 0.0) for score in scores.values()]
        panel.plot(list(scores), means, color=colour, marker=mark, markersize=4, label=name)
        low, high = ([m + sign * s for m, s in zip(means, spread, strict=True)] for sign in (-1, 1))
        panel.fill_between(list(scores), low, high, color=colour, alpha=0.2, linewidth=0)
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(FixedLocator([100, 1_000, 10_000]))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.set_xticklabels(["100", "1,000", "10,000"])
    panel.grid(axis="y")
    panel.tick_params(length=0)


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
