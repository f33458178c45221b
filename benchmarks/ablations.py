"""Draw docs/ablations.svg from results/ablations.json; needs matplotlib.

python benchmarks/ablations.py       (a test checks that the picture is what this draws)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import matplotlib
from drawing import STYLE, svg
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from stkd.methods import parse
from stkd.report.styles import COLOURS

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "ablations.svg"

Cell = dict[str, Any]


def _spec(name: str) -> Callable[[Cell], str]:
    """How an option of the method is shown."""
    return lambda cell: f"{getattr(parse(cell['spec']), name):g}"


def _beta(cell: Cell) -> str:
    beta = parse(cell["spec"]).beta
    return "plain KL" if beta is None else f"{beta:g}"


def _until(cell: Cell) -> str:
    if cell["mix"]["until"] == 1:
        return "all steps"
    return "0.8, " + ("labels\nof real ones" if parse(cell["spec"]).labels == "real" else "all\nlabels")


PANELS: dict[str, tuple[str, tuple[str, ...], Callable[[Cell], str]]] = {
    "alpha": (
        "\N{GREEK SMALL LETTER ALPHA}, concentration of λ",
        ("alpha-0.2", "alpha-0.5", "stkd", "alpha-2"),
        lambda cell: f"{cell['mix']['alpha']:g}",
    ),
    "temperature": (
        "T, temperature",
        ("temperature-1", "temperature-2", "stkd", "temperature-8"),
        _spec("temperature"),
    ),
    "weight": ("w, weight of the teacher", ("weight-0.5", "stkd", "weight-1"), _spec("weight")),
    "instances": (
        "K, images in a sample",
        ("kd", "stkd", "instances-3", "instances-4"),
        lambda cell: str(cell["mix"]["instances"]),
    ),
    "mixing": (
        "how it is mixed",
        ("stkd", "lambda-per-sample", "cutmix"),
        lambda cell: "a λ for each" if cell["mix"]["per_sample"] else cell["mix"]["kind"],
    ),
    "real": (
        "share of real images",
        ("stkd", "real-0.25", "real-0.5", "real-beside"),
        lambda cell: "beside" if cell["mix"]["beside"] else f"{cell['mix']['real']:g}",
    ),
    "until": ("mixed for this share of the steps", ("stkd", "until-0.8", "until-0.8-labels-real"), _until),
    "decoupled": ("β of the decoupled KL", ("stkd", "beta-1", "beta-2", "beta-8"), _beta),
}
"""Name of a choice: its title, the settings in results/ablations.json that differ in it, and the value that one has."""

KD_CELL, DEFAULT_CELL = "kd", "stkd"
DEFAULT, OTHER, KD = "STKD, default", "STKD, other setting", "KD, real images"
LOOKS = {DEFAULT: (COLOURS[1], "D"), OTHER: (COLOURS[2], "o"), KD: (COLOURS[3], "s")}
"""Colour and mark."""


def draw() -> str:
    """The picture as SVG: a panel for each choice, all with the same axis of accuracies."""
    result = json.loads((ROOT / "results" / "ablations.json").read_text())
    cells = {cell["method"]: cell for cell in result["cells"]}
    kd = 100 * float(cells[KD_CELL]["mean"]["top1"])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 5.4), layout="constrained")
        figure.get_layout_engine().set(hspace=0.06)
        axes = list(figure.subplots(2, 4, sharey=True).flat)
        for panel, (title, settings, value) in zip(axes, PANELS.values(), strict=True):
            _panel(panel, [cells[name] for name in settings], title, value, kd)
        axes[0].yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        for panel in (axes[0], axes[4]):
            panel.set_ylabel("test accuracy (%)")
        entries = [zip(*panel.get_legend_handles_labels(), strict=True) for panel in axes]
        legend = {label: handle for panel in entries for handle, label in panel}
        figure.legend(legend.values(), legend.keys(), loc="outside lower center", ncols=3, frameon=False)
        return svg(figure)


def _panel(panel: Axes, cells: Sequence[Cell], title: str, value: Callable[[Cell], str], kd: float) -> None:
    for place, cell in enumerate(cells):
        accuracies = [100 * run["test"]["top1"] for run in cell["runs"]]
        label = {KD_CELL: KD, DEFAULT_CELL: DEFAULT}.get(cell["method"], OTHER)
        look = {"color": LOOKS[label][0], "marker": LOOKS[label][1]}
        panel.plot(
            [place + 0.05 * len(cells)] * len(accuracies), accuracies, linestyle="", markersize=2.5, alpha=0.7, **look
        )
        panel.errorbar(
            place, mean(accuracies), stdev(accuracies), capsize=3, markersize=5.5, label=label, linestyle="", **look
        )
    panel.axhline(kd, color=LOOKS[KD][0], linestyle="--", linewidth=1.2)
    panel.set_title(title, fontsize=10)
    panel.set_xticks(range(len(cells)), [value(cell) for cell in cells])
    panel.set_xlim(-0.6, len(cells) - 0.4)
    panel.grid(axis="y")
    panel.tick_params(length=0)


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
