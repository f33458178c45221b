"""Class names of a model and of a data set, compared as people write them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

__all__ = ["loosely", "places", "same", "spelt_alike"]


def same(name: str) -> str:
    """What names of one class have in common: letters with accents can be written in two ways."""
    return unicodedata.normalize("NFC", name).strip()


def places(own: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Where each of some classes is among a model's outputs, by name; -1 for one that the model does not know.

    Example:
        >>> places(("cat", "dog"), ("dog", "emu"))
        [1, -1]
    """
    place = {same(name): i for i, name in enumerate(own)}
    return [place.get(same(name), -1) for name in wanted]


def spelt_alike(own: Sequence[str], name: str) -> str | None:
    """The class that differs from a name only in case, blanks, hyphens and underscores; None if there is none."""
    return next((other for other in own if loosely(other) == loosely(name)), None)


def loosely(name: str) -> str:
    """What names have in common that differ only in case, blanks, hyphens and underscores."""
    return "".join(character for character in same(name).casefold() if character not in " _-")
