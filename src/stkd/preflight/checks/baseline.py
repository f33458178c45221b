"""How far the teacher is ahead of the student alone."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.errors import StkdError
from ...runs.directory import read_result
from ..finding import Finding
from ..subject import Subject, checks


@checks.register("baseline", "how far the teacher is ahead of the student alone (--baseline)")
def baseline(subject: Subject) -> Iterator[Finding]:
    """Compare the teacher with a finished run of the student alone, on the same images."""
    run, answers = subject.baseline, subject.held_out
    if run is None:
        return
    result = read_result(run)
    if result is None:
        raise StkdError(f"--baseline {run} is not a finished run; give one of the student trained alone")
    split = "val" if result.get("val") else "test"
    if answers is None or not result.get(split):
        return
    alone, gap = result[split]["top1"], answers.right - result[split]["top1"]
    words = "there is little to learn from it" if gap < 0.01 else f"{100 * gap:.1f} points to learn"
    yield Finding(
        "note",
        f"the teacher is right on {answers.right:.1%} of {len(answers.labels):,} {answers.split}, the student alone "
        f"({run.name}) on {alone:.1%}: {words}",
    )
