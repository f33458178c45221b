"""What people read in the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["show_bench", "show_catalogue", "show_predictions"]


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


def show_bench(found: dict[str, Any]) -> None:
    """Speed, its ratio to the bare loop, and where a step's time goes."""
    console = Console()
    console.print(
        f"{found['teacher']} -> {found['student']}, {found['method']}, batch {found['batch_size']}, "
        f"{found['image_size']} pixels, {found['precision']} on {found['device']}; random weights and images"
    )
    console.print(
        f"[bold]{found['images_per_s']:.0f} images/s[/], {found['ratio']:.2f} times the bare float32 loop "
        f"({found['bare_images_per_s']:.0f}); medians of {len(found['pairs'])} pairs"
    )
    table = Table(box=box.SIMPLE)
    table.add_column("part")
    table.add_column("ms", justify="right")
    table.add_column("share", justify="right")
    whole = sum(found["parts"].values())
    for part, ms in found["parts"].items():
        table.add_row(part.replace("_", " "), f"{ms:.2f}", f"{ms / whole:.1%}")
    console.print(table)
    flops, memory = found["flops"], found["memory"]
    console.print(
        f"{flops['achieved'] / 1e9:.0f} GFLOP/s, {flops['share']:.0%} of this device's matrix product in "
        f"{flops['dtype']} ({flops['product_rate'] / 1e9:.0f}); a copy moves {memory['copy_bytes_per_s'] / 1e9:.1f} "
        f"GB/s; peak memory {memory['peak_bytes'] / 2**30:.2f} GiB"
    )
    console.print(f"chosen: {found['speed']}", soft_wrap=True)
