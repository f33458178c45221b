"""Files that cannot be decoded."""

from __future__ import annotations

from collections.abc import Iterator

from ..finding import Finding, counted, quoted
from ..subject import Subject, checks


@checks.register("broken-files", "image files that cannot be decoded")
def broken_files(subject: Subject) -> Iterator[Finding]:
    """Count the broken files that were seen, and say what was not looked at."""
    images = subject.images
    if images.broken:
        names = sorted(images.broken)
        skipped = subject.config.skip_bad
        yield Finding(
            "warning" if skipped else "error",
            f"{counted(len(names), 'broken image file')} ({quoted(names)}); "
            + ("they are skipped" if skipped else "mend or delete them, or skip them with --skip-bad true"),
            [images.broken[name] for name in names],
        )
    if images.left:
        subject.facts["images_not_looked_at"] = images.left
        estimate = f", which takes about {max(1, round(images.seconds_left / 60))} min" if images.seconds_left else ""
        yield Finding(
            "note",
            f"{images.left:,} images were not looked at for broken files and copies; 'stkd check --full' does it"
            f"{estimate}",
        )
