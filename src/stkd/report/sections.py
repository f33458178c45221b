"""Sections on what models predict; a run's page has them once, a comparison's for each pair of data and student."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .evidence import Answers, Evidence
from .examples import Example
from .looks import TEACHER, Look
from .parts import Cell, Picture, figure, gallery, grid, paragraph, table
from .plots_of_predictions import CHANGES, class_changes, heat_map, reliability

__all__ = ["calibration", "changes", "disagreement", "similarity", "the", "virtual"]

_CALIBRATION = ("model", "ECE as trained", "ECE after scaling", "T")

Found = Mapping[str, Evidence]
"""Name of a student to what was found."""


def _models(found: Found) -> dict[str, Answers]:
    """The teacher, if there is one, and all students."""
    teachers = [e.teacher for e in found.values() if e.teacher is not None]
    return {**({"teacher": teachers[0]} if teachers else {}), **{name: e.student for name, e in found.items()}}


def calibration(found: Found, looks: Mapping[str, Look]) -> list[str]:
    """Reliability before and after temperature scaling."""
    if not found:
        return []
    models, known = _models(found), {**looks, "teacher": TEACHER}
    rows = [
        [
            Cell(name, colour=known[name].colour),
            Cell(f"{a.scores['ece']:.3f}", a.scores["ece"]),
            Cell(f"{a.scores['ece_scaled']:.3f}", a.scores["ece_scaled"]),
            Cell(" and ".join(f"{t:.2f}" for t in a.temperature), a.temperature[0]),
        ]
        for name, a in models.items()
    ]
    before = reliability({name: a.reliability for name, a in models.items()}, known)
    after = reliability({name: a.reliability_scaled for name, a in models.items()}, known)
    where = next(iter(found.values())).scaled_on
    return [
        paragraph(
            "How often a model is right when it says how sure it is. On the dotted line both are the same; below it, "
            "the model is too sure. Larger marks stand for more images."
        ),
        grid(figure(before, "Reliability as trained."), figure(after, "Reliability after temperature scaling.")),
        table(f"Calibration error (ECE) and temperature T, fitted on {where}.", _CALIBRATION, rows),
    ]


def similarity(found: Found) -> list[str]:
    """Heat maps of which classes look alike to the teacher and to each student."""
    if not found:
        return []
    models = _models(found)
    classes = list(next(iter(found.values())).classes)
    matrices = {name: a.similarity for name, a in models.items()}
    said = {name: e.correlation for name, e in found.items() if e.correlation is not None}
    maps = []
    for name, matrix in matrices.items():
        close = f" Correlation with the teacher's: {said[name]:.3f}." if name in said else ""
        maps.append(figure(heat_map(name, matrix, classes), f"Similarity of classes as {the(name)} sees it.{close}"))
    few = f" The first {len(matrices[next(iter(matrices))])} classes are shown." if len(classes) > 100 else ""
    return [
        paragraph(
            "Mean softened prediction (T = 4) for the test images of each class, without the diagonal: which other "
            "classes a model sees in a class. This structure is what distillation hands over; the correlation says how "
            f"much of the teacher's a student has. Each map has its own scale of colours.{few}"
        ),
        grid(*maps),
    ]


def the(name: str) -> str:
    """A model's name inside a sentence."""
    return "the teacher" if name == "teacher" else f"“{name}”"


def changes(classes: list[str], after: Answers, before: Answers, name: str, other: str) -> list[str]:
    """Accuracy of each class by one model minus that by another."""
    pairs = [
        (c, a - b)
        for c, a, b in zip(classes, after.class_accuracy, before.class_accuracy, strict=True)
        if a is not None and b is not None
    ]
    if not pairs:
        return []
    better, worse = sum(v > 0 for _, v in pairs), sum(v < 0 for _, v in pairs)
    caption = f"Accuracy of each class, {name} minus {other}: {better} better, {worse} worse, of {len(pairs)}."
    if len(pairs) > CHANGES:
        caption += f" The {CHANGES // 2} at either end are shown."
    return [figure(class_changes([c for c, _ in pairs], [v for _, v in pairs], f"{name} minus {other}"), caption)]


def disagreement(evidence: Evidence, name: str) -> list[str]:
    """Test images that student and teacher see most differently."""
    if not evidence.disagreements:
        return []
    return [
        paragraph(
            f"Of {evidence.images:,} test images, those that {name} and its teacher answer differently and most apart "
            "(total variation distance of their probabilities)."
        ),
        gallery([_picture(e, "test image", "label", name) for e in evidence.disagreements]),
    ]


def virtual(evidence: Evidence, name: str) -> list[str]:
    """Virtual samples and what both models see in them."""
    if not evidence.virtual:
        return []
    return [
        paragraph("Test images mixed as in training, with weights drawn anew for each; classes from 5 % on are named."),
        gallery([_picture(e, "virtual sample", "made of", name) for e in evidence.virtual]),
    ]


def _picture(example: Example, what: str, term: str, name: str) -> Picture:
    said: dict[str, Any] = {term: example.truth, name: example.student, "teacher": example.teacher}
    return Picture(example.source, f"{what}, {term} {example.truth}", said, example.small)
