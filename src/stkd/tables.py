"""What people read in the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

__all__ = ["show_catalogue", "show_predictions", "show_scores"]

_SCORES = {
    "top1": ("top-1 accuracy", "{:.2%}"),
    "top5": ("top-5 accuracy", "{:.2%}"),
    "nll": ("NLL (nats)", "{:.4f}"),
    "ece": ("ECE, 15 bins", "{:.4f}"),
    "agreement": ("agreement with the teacher", "{:.2%}"),
    "teacher_top1": ("the teacher's top-1 accuracy", "{:.2%}"),
    "params": ("parameters", "{:,}"),
    "macs": ("multiply-accumulates per image", "{:,}"),
    "latency_ms_1": ("latency, batch 1 (ms)", "{:.2f}"),
    "latency_ms_64": ("latency, batch 64 (ms)", "{:.2f}"),
    "threads": ("threads", "{}"),
    "images": ("images", "{:,}"),
    "split": ("split", "{}"),
}


def show_scores(scores: dict[str, Any], title: str) -> None:
    """Scores of one model, a row each."""
    console = Console()
    console.print(title, style="bold", soft_wrap=True)
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, (label, shape) in _SCORES.items():
        if name in scores:
            table.add_row(label, shape.format(scores[name]))
    console.print(table)


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
