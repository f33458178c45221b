"""The table of the demo in the terminal."""

from __future__ import annotations

from statistics import mean, stdev
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from .plain import plain_console

if TYPE_CHECKING:
    from ...studies.demo import Demo

__all__ = ["show_demo"]


def show_demo(demo: Demo) -> None:
    """Print a row for the teacher and for each way to train the student, and where the page is."""
    seeds = len(demo.rows[-1].accuracies)
    table = Table(title="Handwritten digits, 8x8", box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.caption = (
        f"{demo.story} Last epoch, mean ± standard deviation over {seeds} seeds; latency at batch 1. "
        f"{demo.seconds:.0f} s."
    )
    table.add_column("")
    for name in ("test accuracy (%)", "parameters", "compression", "latency (ms)"):
        table.add_column(name, justify="right")
    for row in demo.rows:
        spread = f" ± {100 * stdev(row.accuracies):.2f}" if len(row.accuracies) > 1 else ""
        table.add_row(
            row.name,
            f"{100 * mean(row.accuracies):.2f}{spread}",
            f"{row.params:,}",
            f"{demo.rows[0].params / row.params:.0f}x",
            f"{row.latency_ms:.2f}",
        )
    console = plain_console()
    console.print(table)
    console.print(f"Curves and all runs: {demo.page}", soft_wrap=True)
