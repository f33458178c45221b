"""What `stkd list` lists."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["show_catalogue"]


def show_catalogue(entries: list[dict[str, str]]) -> None:
    """Print a line for each entry.

    Args:
        entries: By `stkd.cli.catalogue.catalogue`; their keys are the columns.
    """
    table = Table(box=box.SIMPLE)
    for name in entries[0]:
        table.add_column(name, no_wrap=name == "name", overflow="fold")
    for entry in entries:
        table.add_row(*map(Text, entry.values()))
    Console().print(table)
