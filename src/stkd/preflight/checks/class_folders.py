"""Folders that look like no class, and class names that differ by what nobody sees."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator

from ..finding import Finding, counted, quoted
from ..subject import Subject, checks

_ODD = re.compile(
    r"__macosx|masks?|annotations?|labels?|bbox(es)?|segmentations?|thumb(nail)?s?|backup|copy|new folder.*|tmp|temp"
    r"|train(ing)?|val(id|idation)?|test(ing)?|dev|images?|imgs?",
    re.IGNORECASE,
)


@checks.register("class-folders", "folders that look like no class, and names that are nearly the same")
def class_folders(subject: Subject) -> Iterator[Finding]:
    """Look at the names of the class folders."""
    listing = subject.data.listing
    if listing is None:
        return
    spelt = sorted({name for folders in listing.folders.values() for name in folders})
    odd = [name for name in spelt if _ODD.fullmatch(name.rpartition("/")[2])]
    if odd:
        yield Finding(
            "warning",
            f"{counted(len(odd), 'class folder')} with an unusual name ({quoted(odd)}); move out of the data set "
            "what is no class",
            odd,
        )
    alike = defaultdict(list)
    for name in spelt:
        alike[_seen(name)].append(name)
    same = [names for names in alike.values() if len(names) > 1]
    if same:
        yield Finding(
            "warning",
            f"{counted(len(same), 'name')} of classes spelt in several ways, by blanks, case or the form of letters "
            f"({'; '.join(' and '.join(map(ascii, names)) for names in same[:2])}); join them if they are one",
            [ascii(name) for names in same for name in names],
        )
    parts = listing.folders.items()
    empty = sorted({f"{part}/{name}" for part, folders in parts for name, images in folders.items() if images == 0})
    if empty:
        yield Finding(
            "warning",
            f"{counted(len(empty), 'class folder')} without images ({quoted(empty)}); fill or remove them",
            empty,
        )


def _seen(name: str) -> str:
    """A name without what a reader does not see."""
    text = unicodedata.normalize("NFKC", name).replace("\ufeff", "").replace("\u200b", "")
    return re.sub(r"[\s_-]+", " ", text).strip().casefold()
