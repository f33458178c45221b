"""The table of a comparison in the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from .plain import plain_console

if TYPE_CHECKING:
    from ...studies.compare.table import Table

__all__ = ["show_comparison"]


def show_comparison(table: Table, title: str) -> None:
    """Print a table and its notes."""
    console = plain_console(None if sys.stdout.isatty() else 140)
    shown = RichTable(title=Text(title), box=box.SIMPLE_HEAD, title_justify="left")
    for place, name in enumerate(table.header):
        shown.add_column(Text(name), justify="left" if place < table.words else "right", no_wrap=place < table.words)
    for row in table.rows:
        shown.add_row(*map(Text, row))
    console.print(shown)
    for note in table.notes:
        console.print(note, soft_wrap=True)
