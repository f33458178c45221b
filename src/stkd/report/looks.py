"""One look for a method in all figures of a page: a colour, a mark and a dash, told apart without colour too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["COLOURS", "TEACHER", "Look", "faint", "looks"]

# Okabe and Ito's palette, which colour-blind readers can tell apart; sky blue, orange and purple a little darker, so
# that all stand out from white and from black paper.
COLOURS = ("#7f7f7f", "#d55e00", "#0078bd", "#009e73", "#c06d98", "#b58400", "#3d9bd1")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star")
_DASHES = ("solid", "dash", "dot", "dashdot")


@dataclass(frozen=True)
class Look:
    """How a method is drawn.

    Attributes:
        colour: As #rrggbb.
        symbol: Of its points, a name of plotly's.
        dash: Of its lines, a name of plotly's.
    """

    colour: str
    symbol: str
    dash: str


TEACHER = Look("var(--ink)", "star-diamond", "dot")
"""The teacher is drawn in the colour of the text."""


def looks(names: Iterable[str]) -> dict[str, Look]:
    """A look for each name; the first, to which the others are compared, is grey."""
    found = {}
    for i, name in enumerate(names):
        again, place = divmod(i, len(COLOURS))  # a colour that comes again has another mark and another dash
        symbol, dash = _SYMBOLS[(place + again) % len(_SYMBOLS)], _DASHES[again % len(_DASHES)]
        found[name] = Look(COLOURS[place], symbol, dash)
    return found


def faint(colour: str) -> str:
    """A colour for bands, which lets others shine through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
