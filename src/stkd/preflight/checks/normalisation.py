"""Whether the teacher sees its images as it was trained to."""

from __future__ import annotations

from collections.abc import Iterator

from ...teachers import LiveTeacher
from ..answers import NORMALISATIONS
from ..finding import Finding
from ..orders import LEVEL, mcnemar
from ..subject import Subject, checks


@checks.register("normalisation", "another common normalisation suits the teacher better")
def normalisation(subject: Subject) -> Iterator[Finding]:
    """Compare the normalisations that the teacher was tried with, each on the images of both."""
    answers, teacher = subject.answers, subject.teacher
    if answers is None or not isinstance(teacher, LiveTeacher) or subject.better_order is not None:
        return
    tried = {}
    for name, other in answers.others.items():
        labels, given = answers.labels[: len(other)], answers.given[: len(other)]
        if mcnemar(other == labels, given == labels) * len(answers.others) < LEVEL:
            tried[name] = answers.right_with(name), float((given == labels).mean()), len(other)
    if not tried:
        return
    best = max(tried, key=lambda name: tried[name][0])
    right, given_right, images = tried[best]
    mean, std = NORMALISATIONS.get(best, (subject.data.mean, subject.data.std))
    option = " ".join(f"--teacher-{n} [{','.join(f'{v:.4g}' for v in vs)}]" for n, vs in (("mean", mean), ("std", std)))
    yield Finding(
        "warning",
        f"the teacher is right on {right:.1%} of {images:,} {answers.split} with another normalisation ({best}), on "
        f"{given_right:.1%} with the given one; give {option}",
    )
