"""Draw docs/ablations.svg from results/ablate_*.json; needs matplotlib.

python benchmarks/ablations.py       (a test checks that the picture is what this draws)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
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


def _method(cell: Cell) -> Any:
    return parse(cell["spec"])


def _beta(cell: Cell) -> str:
    beta = _method(cell).beta
    return "plain KL" if beta is None else f"{beta:g}"


PANELS: dict[str, tuple[str, Callable[[Cell], str]]] = {
    "alpha": ("\N{GREEK SMALL LETTER ALPHA}, concentration of λ", lambda cell: f"{cell['mix']['alpha']:g}"),
    "temperature": ("T, temperature", lambda cell: f"{_method(cell).temperature:g}"),
    "weight": ("w, weight of the teacher", lambda cell: f"{_method(cell).weight:g}"),
    "instances": ("K, images in a sample", lambda cell: str(cell["mix"]["instances"])),
    "lambda": ("λ drawn for", lambda cell: "each sample" if cell["mix"]["per_sample"] else "a batch"),
    "real": ("share of real images", lambda cell: "beside" if cell["mix"]["beside"] else f"{cell['mix']['real']:g}"),
    "decoupled": ("β of the decoupled KL", _beta),
}
"""Name of the result file: what was changed, and the value that a setting has."""

DEFAULT, OTHER, KD = "STKD, default", "STKD, other setting", "KD, real images"
LOOKS = {DEFAULT: (COLOURS[1], "D"), OTHER: (COLOURS[2], "o"), KD: (COLOURS[3], "s")}
"""Colour and mark."""


def draw() -> str:
    """The picture as SVG: a panel for each choice, all with the same axis of accuracies."""
    results = {name: json.loads((ROOT / "results" / f"ablate_{name}.json").read_text()) for name in PANELS}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 5.2), layout="constrained")
        figure.get_layout_engine().set(hspace=0.06)
        axes = figure.subplots(2, 4, sharey=True).flat
        for panel, (name, (title, value)) in zip(axes, PANELS.items(), strict=False):
            _panel(panel, results[name], title, value, _kd(results[name], results.values()))
        axes[0].yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        for panel in (axes[0], axes[4]):
            panel.set_ylabel("test accuracy (%)")
        axes[-1].axis("off")
        entries = [zip(*panel.get_legend_handles_labels(), strict=True) for panel in axes]
        legend = {label: handle for panel in entries for handle, label in panel}
        axes[-1].legend(legend.values(), legend.keys(), loc="center", frameon=False)
        return svg(figure)


def _kd(result: dict[str, Any], all_results: Iterable[dict[str, Any]]) -> float | None:
    """Mean accuracy of KD on real images under the protocol of a file, in this file or in another."""
    shared = ("data", "students", "seeds", "options", "teacher")
    for other in (result, *all_results):
        if all(other["protocol"][name] == result["protocol"][name] for name in shared):
            for cell in other["cells"]:
                if _is_kd(cell) and cell["runs"]:
                    return 100 * float(cell["mean"]["top1"])
    return None


def _is_kd(cell: Cell) -> bool:
    return bool(cell["spec"] == "kd" and cell["mix"]["kind"] == "none")


def _panel(panel: Axes, result: dict[str, Any], title: str, value: Callable[[Cell], str], kd: float | None) -> None:
    cells = result["cells"]
    for place, cell in enumerate(cells):
        accuracies = [100 * run["test"]["top1"] for run in cell["runs"]]
        if not accuracies:
            continue
        label = KD if _is_kd(cell) else DEFAULT if cell["method"] == result["baseline"] else OTHER
        look = {"color": LOOKS[label][0], "marker": LOOKS[label][1]}
        panel.plot(
            [place + 0.05 * len(cells)] * len(accuracies), accuracies, linestyle="", markersize=2.5, alpha=0.7, **look
        )
        spread = stdev(accuracies) if len(accuracies) > 1 else None
        panel.errorbar(place, mean(accuracies), spread, capsize=3, markersize=5.5, label=label, linestyle="", **look)
    if kd is not None:
        panel.axhline(kd, color=LOOKS[KD][0], linestyle="--", linewidth=1.2)
    panel.set_title(title, fontsize=10)
    panel.set_xticks(range(len(cells)), [value(cell) for cell in cells])
    panel.set_xlim(-0.6, len(cells) - 0.4)
    panel.grid(axis="y")
    panel.tick_params(length=0)


if __name__ == "__main__":
    PICTURE.write_text(draw(), encoding="utf-8")
