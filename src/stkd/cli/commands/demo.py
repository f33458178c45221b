"""Train a teacher, and a student alone, with mixup, with KD and with STKD, on handwritten digits, in a few minutes."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ...core.options import Parser

SUMMARY = "see it work on digits, in a few minutes"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="where to write [runs/demo]")


def run(args: Namespace) -> int:
    """Make the demo and print its table."""
    from statistics import mean, stdev

    from rich import box
    from rich.console import Console
    from rich.table import Table

    from ...studies.demo import demo

    made = demo(args.out)
    seeds = len(made.rows[-1].accuracies)
    table = Table(title="Handwritten digits, 8x8", box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    table.caption = (
        f"{made.story} Last epoch, mean ± standard deviation over {seeds} seeds; latency at batch 1. "
        f"{made.seconds:.0f} s."
    )
    table.add_column("")
    for name in ("test accuracy (%)", "parameters", "compression", "latency (ms)"):
        table.add_column(name, justify="right")
    for row in made.rows:
        spread = f" ± {100 * stdev(row.accuracies):.2f}" if len(row.accuracies) > 1 else ""
        table.add_row(
            row.name,
            f"{100 * mean(row.accuracies):.2f}{spread}",
            f"{row.params:,}",
            f"{made.rows[0].params / row.params:.0f}x",
            f"{row.latency_ms:.2f}",
        )
    console = Console()
    console.print(table)
    console.print(f"Curves and all runs: {made.page}", soft_wrap=True)
    return 0
