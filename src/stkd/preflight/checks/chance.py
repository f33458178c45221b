"""Whether the teacher knows the classes at all."""

from __future__ import annotations

from collections.abc import Iterator

from scipy.stats import binomtest

from ..finding import Finding
from ..subject import Subject, checks

_LEAST = 30
"""Labelled images below which nothing can be said."""


@checks.register("chance", "the teacher is right no more often than by chance")
def chance(subject: Subject) -> Iterator[Finding]:
    """Compare its share of right answers with that of a guess."""
    answers = subject.answers
    if answers is None:
        return
    images, classes = len(answers.labels), len(subject.data.classes)
    subject.facts["teacher"] = {
        "right": round(answers.right, 4),
        "images": images,
        "split": answers.split,
    }
    right = int((answers.labels == answers.given).sum())
    if subject.better_order is not None or images < _LEAST:
        return
    if binomtest(right, images, 1 / classes, alternative="greater").pvalue > 0.01:
        yield Finding(
            "error",
            f"the teacher is right on {answers.right:.1%} of {images:,} {answers.split}, no better than chance with "
            f"{classes} classes; check that its weights are trained and for these classes, and its --teacher-classes, "
            "--teacher-mean, --teacher-std and --teacher-size",
        )
    else:
        yield Finding("note", f"the teacher is right on {answers.right:.1%} of {images:,} {answers.split}")
