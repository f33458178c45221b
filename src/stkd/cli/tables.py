"""What people read in the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["show_catalogue", "show_predictions"]


def show_predictions(predictions: list[dict[str, Any]]) -> None:
    """The likeliest classes of each image, side by side for student and teacher."""
    console = Console()
    for found in predictions:
        console.print(found["image"], style="bold", soft_wrap=True)
        table = Table(box=box.SIMPLE)
        columns = [who for who in found if who != "image"]
        for who in columns:
            table.add_column(who)
            table.add_column("", justify="right")
        for row in zip(*(found[who] for who in columns), strict=True):
            table.add_row(*(cell for answer in row for cell in (answer["class"], f"{answer['probability']:.1%}")))
        console.print(table)


def show_catalogue(entries: list[dict[str, str]]) -> None:
    """A line per entry."""
    table = Table(box=box.SIMPLE)
    for name in entries[0]:
        table.add_column(name, no_wrap=name == "name", overflow="fold")
    for entry in entries:
        table.add_row(*entry.values())
    Console().print(table)
