"""Sections on images unlike those of training: corrupted ones and foreign ones, as evaluated, and virtual ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..evaluation.corruptions import GROUPS
from .evidence import Evidence
from .looks import COLOURS, TEACHER, Look
from .parts import Cell, figure, grid, paragraph, table
from .plots_under_stress import by_corruption, by_severity, confidences, corruption_map, lines_along, pair_along
from .sections import the

__all__ = ["along_lambda", "foreign", "robustness"]

_PAIRS = 3  # of classes that are drawn
_ALONE = Look(COLOURS[0], "circle-open", "dash")  # the student that `stkd evaluate --alone` was given

Kept = Mapping[str, Mapping[str, Any]]
"""Name of a student to what `stkd evaluate` left in its run, for those runs where it did."""


def _models(kept: Kept, part: str) -> dict[str, dict[str, Any]]:
    """What was measured of the teacher, of the student alone where it was given, and of every student."""
    measured = {name: evaluation[part] for name, evaluation in kept.items() if part in evaluation}
    first: Mapping[str, Any] = next(iter(measured.values()), {})
    others = {who: first[who] for who in ("teacher", "alone") if who in first}
    return {**others, **{name: m["model"] for name, m in measured.items()}}


def _known(looks: Mapping[str, Look]) -> dict[str, Look]:
    return {"alone": _ALONE, **looks, "teacher": TEACHER}


def robustness(kept: Kept, looks: Mapping[str, Look]) -> list[str]:
    """Accuracy under common corruptions."""
    models, known = _models(kept, "robustness"), _known(looks)
    if not models:
        return []
    accuracies: dict[str, dict[str, list[float]]] = {name: m["top1"] for name, m in models.items()}
    means = {name: [m["clean_top1"], *_by_severity(m["top1"])] for name, m in models.items()}
    count = len(next(iter(accuracies.values())))
    most = max(v for found in accuracies.values() for row in found.values() for v in row)
    maps = [
        figure(corruption_map(name, found, most), f"Accuracy of {the(name)} under each corruption at each severity.")
        for name, found in accuracies.items()
    ]
    rows = [_row(name, m, known[name]) for name, m in models.items()]
    header = ["model", "clean (%)", "mean (%)", "kept (%)", *(f"{group} (%)" for group in GROUPS)]
    caption = (
        f"Accuracy on clean images, mean over {count} corruptions and five severities, how much of the clean accuracy "
        "is kept, and means over the corruptions of each kind."
    )
    return [
        paragraph(
            f"Accuracy on test images spoilt by {count} common corruptions at five severities (Hendrycks & Dietterich, "
            "2019), the same images for all models. Drawn anew, so these are not the numbers of CIFAR-10-C or "
            "ImageNet-C."
        ),
        table(caption, header, rows),
        grid(
            figure(by_severity(means, known), "Mean accuracy over all corruptions by severity."),
            figure(by_corruption(accuracies, known), "Mean accuracy over the five severities of each corruption."),
        ),
        grid(*maps),
    ]


def _by_severity(found: Mapping[str, list[float]]) -> list[float]:
    return [sum(column) / len(found) for column in zip(*found.values(), strict=True)]


def _row(name: str, measured: Mapping[str, Any], look: Look) -> list[Cell]:
    def share(value: float) -> Cell:
        return Cell(f"{100 * value:.2f}", value)

    clean, mean, found = measured["clean_top1"], measured["mean_top1"], measured["top1"]
    cells = [share(clean), share(mean), share(mean / clean) if clean else Cell("")]
    for names in GROUPS.values():
        values = [v for corruption in names for v in found.get(corruption, ())]
        cells.append(share(sum(values) / len(values)) if values else Cell(""))
    return [Cell(name, colour=look.colour), *cells]


def foreign(kept: Kept, looks: Mapping[str, Look]) -> list[str]:
    """Confidence on the images of another data set."""
    models, known = _models(kept, "ood"), _known(looks)
    if not models:
        return []
    ood = next(evaluation["ood"] for evaluation in kept.values() if "ood" in evaluation)
    data, images = ood["data"], ood["images"]
    plots, rows = [], []
    for name, m in models.items():
        caption = f"Confidence of {the(name)} on its own test images and on {data}; AUROC {m['auroc']:.3f}."
        plots.append(figure(confidences(m["histogram"], m["foreign_histogram"], data), caption))
        numbers = [Cell(f"{m['auroc']:.4f}", m["auroc"])]
        numbers += [Cell(f"{100 * m[k]:.2f}", m[k]) for k in ("mean_confidence", "foreign_confidence")]
        rows.append([Cell(name, colour=known[name].colour), *numbers])
    return [
        paragraph(
            f"How sure a model is (the likeliest class's probability) of {images:,} images of {data}, which it was not "
            "made for. A model that knows its limits is less sure of them. AUROC is the chance that an own image gets "
            "more confidence than a foreign one: 0.5 is a coin, 1 tells all apart."
        ),
        grid(*plots),
        table(
            f"Confidence on own test images and on {data}.",
            ["model", "AUROC", "mean confidence, own (%)", "mean confidence, foreign (%)"],
            rows,
        ),
    ]


def along_lambda(found: Mapping[str, Evidence], looks: Mapping[str, Look], main: str) -> list[str]:
    """Teacher and students between two images.

    Args:
        found: Name of a student to what was found.
        looks: Of the students.
        main: The student whose probabilities are drawn.
    """
    measured = {name: e.along for name, e in found.items() if e.along is not None}
    if not measured:
        return []
    first = next(iter(measured.values()))
    lambdas = first["lambdas"]
    labels = {"agreement": "same answer as the teacher", "kl": "KL from the teacher (nats)"}
    captions = {
        "agreement": "Share of virtual samples to which student and teacher give the same answer, by λ.",
        "kl": "Mean KL(teacher ‖ student) of the softened probabilities (T = 4), by λ.",
    }
    curves = [
        figure(lines_along(lambdas, {name: m[what] for name, m in measured.items()}, label, looks), captions[what])
        for what, label in labels.items()
    ]
    return [
        paragraph(
            f"Virtual samples (1 - λ) a + λ b of {first['samples']:,} pairs of test images of different classes, shown "
            "to teacher and student. At both ends they are real images; between them lies what STKD trains on."
        ),
        grid(*curves),
        *(_pairs(found[main], main, looks) if main in measured else []),
    ]


def _pairs(evidence: Evidence, name: str, looks: Mapping[str, Look]) -> list[str]:
    assert evidence.along is not None
    plots = []
    for pair in evidence.along["pairs"][:_PAIRS]:
        one, other = (evidence.classes[c] for c in pair["classes"])
        models = {"teacher": pair["teacher"], name: pair["student"]}
        plot = pair_along(evidence.along["lambdas"], (one, other), models, _known(looks))
        caption = (
            f"From {one} to {other}: mean probabilities of {pair['samples']} pairs by the teacher and by {the(name)}."
        )
        plots.append(figure(plot, caption))
    if not plots:
        return []
    return [
        paragraph("The pairs of classes that the teacher finds likest, each image of one with one of the other:"),
        grid(*plots),
    ]
