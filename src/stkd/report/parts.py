"""What sections are made of: tables, figures, galleries of images, blocks of text. All names are escaped here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

__all__ = ["Cell", "Picture", "code", "details", "facts", "figure", "gallery", "grid", "panel", "paragraph", "table"]

Plot = Mapping[str, Any]
"""Data and layout of a figure, as plotly.js takes them; names in it are HTML, so they must come escaped."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: What is shown.
        value: What the column is sorted by, where that is not the text.
        colour: Of a mark in front of it.
        span: Columns that it takes.
    """

    text: str
    value: float | None = None
    colour: str | None = None
    span: int = 1


@dataclass(frozen=True)
class Picture:
    """An image of a gallery.

    Attributes:
        source: Data URI.
        alt: What it shows, for those who do not see it.
        facts: What is said beside it: a term and its text.
        small: So few pixels that they should stay sharp.
    """

    source: str
    alt: str
    facts: Mapping[str, str]
    small: bool


def paragraph(text: str, soft: bool = False) -> str:
    """A paragraph of text."""
    return f"<p{' class=soft' if soft else ''}>{escape(text)}</p>\n"


def table(caption: str, header: Sequence[str], rows: Sequence[Sequence[Cell | str]], strong: Sequence[int] = ()) -> str:
    """A table that can be sorted by any of its columns; it scrolls inside a narrow page.

    Args:
        caption: Above the table.
        header: Names of the columns.
        rows: Cells, the first of each row naming it.
        strong: Rows that stand out.
    """
    heads = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{escape(h) or "name"}</button></th>' for h in header
    )
    lines = []
    for i, row in enumerate(rows):
        cells = [_cell(c if isinstance(c, Cell) else Cell(c), first=j == 0) for j, c in enumerate(row)]
        lines.append(f"<tr{' class=strong' if i in strong else ''}>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>\n"
    )


def _cell(cell: Cell, first: bool) -> str:
    mark = f'<span class="swatch" style="background:{cell.colour}"></span>' if cell.colour else ""
    value = f' data-value="{cell.value!r}"' if cell.value is not None else ""
    span = f' colspan="{cell.span}" class="failed"' if cell.span > 1 else ""
    text = mark + escape(cell.text)
    return f'<th scope="row"{value}>{text}</th>' if first else f"<td{value}{span}>{text}</td>"


_TOOLS = {"png": "PNG", "svg": "SVG", "csv": "CSV"}


def figure(plot: Plot, caption: str) -> str:
    """A figure that is drawn when it is scrolled to, with its caption, its files and its values as a table."""
    # "<" must not end the script that holds the text
    source = json.dumps(plot, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    name = "figure-" + hashlib.blake2b((caption + source).encode(), digest_size=4).hexdigest()
    buttons = "".join(
        f'<button type="button" data-tool="{tool}" aria-label="Save as {label}: {escape(caption)}">{label}</button>'
        for tool, label in _TOOLS.items()
    )
    values = '<button type="button" data-tool="values" aria-expanded="false">Values</button>'
    height = plot["layout"].get("height", 380)
    return (
        f'<figure aria-labelledby="{name}-caption"><div class="plot" id="{name}" role="img" '
        f'aria-label="{escape(caption)}" style="height:{height}px"></div>'
        f'<script type="application/json">{source}</script>'
        f'<figcaption id="{name}-caption">{escape(caption)}</figcaption>'
        f'<div class="tools">{buttons}{values}</div>'
        '<div class="scroll values" tabindex="0" role="region" aria-label="Values of the figure" hidden></div>'
        "</figure>\n"
    )


def gallery(pictures: Sequence[Picture]) -> str:
    """Images with what is said about each."""
    items = []
    for p in pictures:
        said = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in p.facts.items())
        look = ' class="small"' if p.small else ""
        items.append(f'<li><img{look} src="{p.source}" alt="{escape(p.alt)}"><dl>{said}</dl></li>')
    return f'<ul class="gallery">{"".join(items)}</ul>\n'


def grid(*parts: str) -> str:
    """Parts side by side where there is room."""
    return f'<div class="grid">{"".join(parts)}</div>\n'


def panel(number: int, *parts: str) -> str:
    """Parts that are shown while the reader's choice is this number."""
    return f'<div data-panel="{number}">{"".join(parts)}</div>\n'


def code(text: str) -> str:
    """A block of code or commands."""
    return f'<pre tabindex="0">{escape(text)}</pre>\n'


def details(summary: str, *parts: str) -> str:
    """Parts behind a line to be opened."""
    return f"<details><summary>{escape(summary)}</summary>{''.join(parts)}</details>\n"


def facts(caption: str, pairs: Mapping[str, str]) -> str:
    """Names and values, one a line."""
    lines = "".join(
        f'<tr><th scope="row">{escape(k)}</th><td class="text">{escape(v)}</td></tr>' for k, v in pairs.items()
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><tbody>{lines}</tbody></table></div>\n"
    )
