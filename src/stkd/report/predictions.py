"""Sections on predictions; a run's page has them once, a comparison's for each pair of data and student.

Each function returns the values of its section's template, None where there is nothing to show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .page import Figure
from .plots.predictions import MOST_CHANGES, MOST_CLASSES, class_changes, confusion_map, heat_map, reliability
from .plots.robustness import class_transition, lines_along
from .styles import TEACHER, Style
from .tables import Cell, Table, interval, number, percent

__all__ = [
    "Evaluation",
    "Evaluations",
    "Values",
    "calibration",
    "changes",
    "classes",
    "disagreement",
    "in_words",
    "similarity",
    "transfer",
    "virtual",
]

_TRANSITIONS = 3  # pairs of classes that are drawn
_UNFOLDED = 20  # classes up to which their table is shown at once
_SMALL = 64  # pixels a side up to which an image is enlarged with sharp pixels

Evaluation = Mapping[str, Any]
"""What `stkd.evaluation.evaluate` returns for a model."""

Evaluations = Mapping[str, Evaluation]
"""Name of a student to its evaluation."""

Values = dict[str, Any]
Styles = Mapping[str, Style]


def in_words(name: str) -> str:
    """A model's name inside a sentence."""
    return "the teacher" if name == "teacher" else f"“{name}”"


def _models(evaluations: Evaluations) -> dict[str, Evaluation]:
    """The teacher, if there is one, and all students."""
    teachers = [evaluation["teacher"] for evaluation in evaluations.values() if "teacher" in evaluation]
    return {**({"teacher": teachers[0]} if teachers else {}), **evaluations}


def calibration(evaluations: Evaluations, styles: Styles) -> Values | None:
    """Reliability before and after temperature scaling."""
    if not evaluations:
        return None
    measured = {name: evaluation["calibration"] for name, evaluation in _models(evaluations).items()}
    styles = {**styles, "teacher": TEACHER}
    rows = [
        [
            Cell(name, colour=styles[name].colour),
            number(m["ece"], ".3f"),
            number(m["scaled_ece"], ".3f"),
            Cell(" and ".join(f"{t:.2f}" for t in m["temperatures"]), m["temperatures"][0]),
        ]
        for name, m in measured.items()
    ]
    fitted_on = {
        "held-out images": "validation images",
        "halves": "halves of the test images, each for the other half",
    }[next(iter(measured.values()))["fitted_on"]]
    caption = f"Calibration error (ECE) and temperature T, fitted on {fitted_on}."
    before = reliability({name: m["bins"] for name, m in measured.items()}, styles)
    after = reliability({name: m["scaled_bins"] for name, m in measured.items()}, styles)
    return {
        "figures": [
            Figure(before, "Reliability as trained."),
            Figure(after, "Reliability after temperature scaling."),
        ],
        "table": Table(caption, ("model", "ECE as trained", "ECE after scaling", "T"), rows),
    }


def similarity(evaluations: Evaluations) -> Values | None:
    """Heat maps of which classes look similar to the teacher and to each student."""
    if not evaluations:
        return None
    first = next(iter(evaluations.values()))
    similarities = {name: evaluation["similarity"] for name, evaluation in evaluations.items()}
    matrices = {name: s["model"] for name, s in similarities.items()}
    teachers = [s["teacher"] for s in similarities.values() if "teacher" in s]
    figures = []
    for name, matrix in {**({"teacher": teachers[0]} if teachers else {}), **matrices}.items():
        correlation = similarities.get(name, {}).get("pearson")
        close = "" if correlation is None else f" Correlation with the teacher's: {correlation:.3f}."
        caption = f"Similarity of classes as {in_words(name)} sees it.{close}"
        figures.append(Figure(heat_map(name, matrix, first["classes"]), caption))
    return {
        "figures": figures,
        "taught": bool(teachers),
        "cut": MOST_CLASSES if len(first["classes"]) > MOST_CLASSES else None,
    }


def classes(
    main: Evaluation | None,
    name: str,
    compared: Sequence[tuple[str, Evaluation]],
    before: Evaluation | None,
    other: str,
) -> Values | None:
    """How well each class is told, and what it is taken for.

    Args:
        main: The model whose classes are listed.
        name: Its name.
        compared: Names and evaluations of the models whose accuracies are compared with those of another.
        before: Evaluation of that other model.
        other: Its name.
    """
    figures = [] if before is None else changes(compared, before, other)
    if main is None:
        return {"figures": figures, "table": None} if figures else None
    if "confusion" in main:
        caption = (
            f"What {in_words(name)} takes the images of each class for, share of the class; right answers are left out."
        )
        figures.append(Figure(confusion_map(name, main["confusion"], main["classes"]), caption))
    table = _class_table(main, name)
    return {"figures": figures, "table": table, "folded": len(table.rows) > _UNFOLDED}


def _class_table(evaluation: Evaluation, name: str) -> Table:
    names, accuracy = evaluation["classes"], evaluation["class_accuracy"]
    teacher = evaluation.get("teacher", {}).get("class_accuracy", [None] * len(names))
    order = sorted(range(len(names)), key=lambda c: (accuracy[c] is None, accuracy[c]))
    rows = [
        [
            Cell(names[c]),
            number(evaluation["class_images"][c], ",d"),
            percent(accuracy[c]),
            interval(evaluation["class_interval"][c]),
            percent(teacher[c]),
            Cell(", ".join(f"{names[label]} ({count})" for label, count in evaluation["mistaken"][c]), wraps=True),
        ]
        for c in order
    ]
    caption = (
        f"Test images of each class and how many of them {in_words(name)} gets right, hardest class first, with "
        "Wilson's 95 % interval and the classes that the others are most often taken for."
    )
    header = ["class", "images", "accuracy (%)", "95 % interval", "teacher (%)", "taken for (images)"]
    return Table(caption, header, rows).without_columns()


def changes(evaluations: Sequence[tuple[str, Evaluation]], before: Evaluation, other: str) -> list[Figure]:
    """Accuracy of each class by some models minus that by another.

    Args:
        evaluations: Names and evaluations of the models.
        before: Evaluation of the other model.
        other: Its name.
    """
    figures = []
    for name, evaluation in evaluations:
        pairs = [
            (label, a - b)
            for label, a, b in zip(
                evaluation["classes"], evaluation["class_accuracy"], before["class_accuracy"], strict=True
            )
            if a is not None and b is not None
        ]
        if not pairs:
            continue
        better, worse = sum(v > 0 for _, v in pairs), sum(v < 0 for _, v in pairs)
        caption = f"Accuracy of each class, {name} minus {other}: {better} better, {worse} worse, of {len(pairs)}."
        if len(pairs) > MOST_CHANGES:
            caption += f" The {MOST_CHANGES // 2} at either end are shown."
        plot = class_changes([label for label, _ in pairs], [v for _, v in pairs], f"{name} minus {other}")
        figures.append(Figure(plot, caption))
    return figures


def disagreement(evaluation: Evaluation, name: str) -> Values | None:
    """Test images that student and teacher classify most differently."""
    examples = _examples(evaluation, "disagreements")
    return {"examples": examples, "student": name, "images": evaluation["images"]} if examples else None


def virtual(evaluation: Evaluation, name: str) -> Values | None:
    """Virtual samples and what both models see in them."""
    examples = _examples(evaluation, "virtual")
    return {"examples": examples, "student": name, "mix": evaluation["examples"]["mix"]} if examples else None


def _examples(evaluation: Evaluation, kind: str) -> list[dict[str, Any]]:
    """Examples of an evaluation with labels and predictions in words."""
    examples, classes = evaluation.get("examples", {}), evaluation["classes"]

    def words(top: Sequence[tuple[int, float]]) -> str:
        return ", ".join(f"{classes[label]}\u00a0({value:.0%})" for label, value in top)

    def label(truth: Sequence[tuple[int, float]]) -> str:
        return words(truth) if kind == "virtual" else str(classes[truth[0][0]])

    return [
        {
            "picture": example["picture"],
            "small": examples["image_size"] <= _SMALL,
            "truth": label(example["truth"]),
            "student": words(example["student"]),
            "teacher": words(example["teacher"]),
        }
        for example in examples.get(kind, [])
    ]


def transfer(evaluations: Evaluations, styles: Styles, main: str) -> Values | None:
    """Teacher and students on virtual samples between two images.

    Args:
        evaluations: Of the students.
        styles: Of the students.
        main: The student whose probabilities are drawn.
    """
    measured = {name: evaluation["virtual"] for name, evaluation in evaluations.items() if "virtual" in evaluation}
    if not measured:
        return None
    first = next(iter(measured.values()))
    agreement, kl = ({name: m[what] for name, m in measured.items()} for what in ("agreement", "kl"))
    figures = [
        Figure(
            lines_along(first["lambdas"], agreement, "same answer as the teacher", styles, percent=True),
            "Share of virtual samples to which student and teacher give the same answer, by λ.",
        ),
        Figure(
            lines_along(first["lambdas"], kl, "KL from the teacher (nats)", styles, percent=False),
            "Mean KL(teacher ‖ student) of the softened probabilities (T = 4), by λ.",
        ),
    ]
    transitions = _transitions(evaluations[main], main, styles) if main in measured else []
    mix = next(iter(evaluations.values()))["examples"]["mix"] if len(evaluations) == 1 else None
    return {"figures": figures, "samples": first["samples"], "transitions": transitions, "mix": mix}


def _transitions(evaluation: Evaluation, name: str, styles: Styles) -> list[Figure]:
    virtual = evaluation["virtual"]
    figures = []
    for pair in virtual["pairs"][:_TRANSITIONS]:
        first, second = (evaluation["classes"][label] for label in pair["classes"])
        models = {
            who: [[probabilities[label] for label in pair["classes"]] for probabilities in pair[key]]
            for who, key in (("teacher", "teacher"), (name, "student"))
        }
        plot = class_transition(virtual["lambdas"], (first, second), models, {**styles, "teacher": TEACHER})
        caption = (
            f"From {first} to {second}: mean probabilities of {pair['samples']} pairs by the teacher and by "
            f"{in_words(name)}."
        )
        figures.append(Figure(plot, caption))
    return figures
