"""Files of the data set that are not taken."""

from __future__ import annotations

from collections.abc import Iterator

from ...data.image_tree import BROKEN
from ..finding import Finding, counted, quoted
from ..subject import Subject, checks


@checks.register("files-left", "files that are not taken as images")
def files_left(subject: Subject) -> Iterator[Finding]:
    """Count them by the reason."""
    listing = subject.data.listing
    for reason, names in ({} if listing is None else listing.left).items():
        stops = reason == BROKEN and not subject.config.skip_bad
        mend = "; delete or replace them, or go on without them by --skip-bad true" if stops else ""
        message = f"{counted(len(names), 'file')} not taken ({quoted(names)}): {reason}{mend}"
        yield Finding("error" if stops else "warning", message, names)
