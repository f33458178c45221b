"""Sections on images unlike those of training, where `stkd evaluate` measured them: corrupted and foreign ones.

Each function returns the values of its section's template, None where there is nothing to show.
"""

from __future__ import annotations

from collections.abc import Mapping
from statistics import mean
from typing import Any

from ..evaluation.corruptions import GROUPS
from .page import Figure
from .plots.robustness import by_corruption, by_severity, confidences, corruption_map
from .predictions import Evaluations, Values, in_words
from .styles import COLOURS, TEACHER, Style
from .tables import EMPTY, Cell, Table, number, percent

__all__ = ["foreign", "robustness"]

_ALONE = Style(COLOURS[0], "circle-open", "dash")  # the student that `stkd evaluate --alone` was given


def _models(evaluations: Evaluations, part: str) -> dict[str, Mapping[str, Any]]:
    """What was measured of the teacher, of the student alone where it was given, and of every student."""
    measured = {name: evaluation[part] for name, evaluation in evaluations.items() if part in evaluation}
    others = {who: m[who] for who in ("teacher", "alone") for m in reversed(measured.values()) if who in m}
    return {**others, **{name: m["model"] for name, m in measured.items()}}


def robustness(evaluations: Evaluations, styles: Mapping[str, Style]) -> Values | None:
    """Accuracy under common corruptions."""
    models = _models(evaluations, "robustness")
    if not models:
        return None
    styles = {"alone": _ALONE, **styles, "teacher": TEACHER}
    accuracies: dict[str, dict[str, list[float]]] = {name: m["top1"] for name, m in models.items()}
    severities = {
        name: [m["clean_top1"], *map(mean, zip(*m["top1"].values(), strict=True))] for name, m in models.items()
    }
    count = len(next(iter(accuracies.values())))
    largest = max(v for by_name in accuracies.values() for row in by_name.values() for v in row)
    caption = (
        f"Accuracy on clean images, mean over {count} corruptions and five severities, share of the clean accuracy "
        "that is kept, and means over the corruptions of each kind."
    )
    header = ["model", "clean (%)", "mean (%)", "kept (%)", *(f"{group} (%)" for group in GROUPS)]
    return {
        "count": count,
        "table": Table(caption, header, [_row(name, m, styles[name]) for name, m in models.items()]),
        "figures": [
            Figure(by_severity(severities, styles), "Mean accuracy over all corruptions by severity."),
            Figure(by_corruption(accuracies, styles), "Mean accuracy over the five severities of each corruption."),
        ],
        "maps": [
            Figure(
                corruption_map(name, by_name, largest),
                f"Accuracy of {in_words(name)} under each corruption at each severity.",
            )
            for name, by_name in accuracies.items()
        ],
    }


def _row(name: str, measured: Mapping[str, Any], style: Style) -> list[Cell]:
    clean, accuracy, by_name = measured["clean_top1"], measured["mean_top1"], measured["top1"]
    kinds = [[v for corruption in names for v in by_name.get(corruption, ())] for names in GROUPS.values()]
    return [
        Cell(name, colour=style.colour),
        percent(clean),
        percent(accuracy),
        percent(accuracy / clean) if clean else EMPTY,
        *(percent(mean(values)) if values else EMPTY for values in kinds),
    ]


def foreign(evaluations: Evaluations, styles: Mapping[str, Style]) -> Values | None:
    """Confidence on the images of another data set."""
    models = _models(evaluations, "ood")
    if not models:
        return None
    styles = {"alone": _ALONE, **styles, "teacher": TEACHER}
    ood = next(evaluation["ood"] for evaluation in evaluations.values() if "ood" in evaluation)
    data = ood["data"]
    rows = [
        [
            Cell(name, colour=styles[name].colour),
            number(m["auroc"], ".4f"),
            percent(m["mean_confidence"]),
            percent(m["foreign_confidence"]),
        ]
        for name, m in models.items()
    ]
    figures = [
        Figure(
            confidences(m["histogram"], m["foreign_histogram"], data),
            f"Confidence of {in_words(name)} on its own test images and on {data}; AUROC {m['auroc']:.3f}.",
        )
        for name, m in models.items()
    ]
    header = ["model", "AUROC", "mean confidence, own (%)", "mean confidence, foreign (%)"]
    table = Table(f"Confidence on own test images and on {data}.", header, rows)
    return {"data": data, "images": ood["images"], "figures": figures, "table": table}
