"""Files of the data set that are not taken."""

from __future__ import annotations

from collections.abc import Iterator

from ..finding import Finding, quoted
from ..subject import Subject, checks


@checks.register("files-left", "files that are not taken as images")
def files_left(subject: Subject) -> Iterator[Finding]:
    """Count them by the reason."""
    listing = subject.data.listing
    for reason, names in ({} if listing is None else listing.left).items():
        yield Finding("warning", f"{len(names):,} files are not taken ({quoted(names)}): {reason}", names)
