"""What `stkd list` lists."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from .plain import plain_console

__all__ = ["show_catalogue"]

MOST = 40
"""Entries that are shown; more would roll off the screen."""


def show_catalogue(entries: list[dict[str, str]]) -> None:
    """Print a line for each entry.

    Args:
        entries: By `stkd.cli.catalogue.catalogue`; their keys are the columns.
    """
    table = Table(box=box.SIMPLE)
    for name in entries[0]:
        table.add_column(name, no_wrap=name == "name", overflow="fold")
    shown = entries[:MOST] if len(entries) > MOST + 1 else entries
    for entry in shown:
        table.add_row(*map(Text, entry.values()))
    console = plain_console()
    console.print(table)
    if len(shown) < len(entries):
        console.print(f"  and {len(entries) - len(shown)} more: search for a longer part of the name, or give --json")
