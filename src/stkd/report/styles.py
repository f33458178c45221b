"""One style for a method in all figures of a page: colour, symbol and dash, told apart without colour too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["COLOURS", "INK", "TEACHER", "Style", "styles", "translucent"]

# Okabe and Ito's palette, which colour-blind readers can tell apart; sky blue, orange and purple a little darker, so
# that all stand out from white and from black paper.
COLOURS = ("#7f7f7f", "#d55e00", "#0078bd", "#009e73", "#c06d98", "#b58400", "#3d9bd1")
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross", "x", "star")
_DASHES = ("solid", "dash", "dot", "dashdot")

INK = "var(--ink)"
"""The colour of the text, dark on light paper and light on dark paper; page.js puts it in."""


@dataclass(frozen=True)
class Style:
    """How a method is drawn.

    Attributes:
        colour: As #rrggbb, or `INK`.
        symbol: Of its points, a name of plotly's.
        dash: Of its lines, a name of plotly's.
    """

    colour: str
    symbol: str
    dash: str


TEACHER = Style(INK, "star-diamond", "dot")


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each name; the first, to which the others are compared, is grey."""
    by_name = {}
    for i, name in enumerate(names):
        lap, position = divmod(i, len(COLOURS))  # a colour that is used again has another symbol and another dash
        symbol, dash = _SYMBOLS[(position + lap) % len(_SYMBOLS)], _DASHES[lap % len(_DASHES)]
        by_name[name] = Style(COLOURS[position], symbol, dash)
    return by_name


def translucent(colour: str) -> str:
    """A colour for bands and areas, which lets others shine through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
