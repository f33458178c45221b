"""The most probable classes of images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .plain import plain_console, printable

__all__ = ["show_predictions"]

_IN_FULL = 10  # images up to which each gets a table of its own


def show_predictions(predictions: Sequence[dict[str, Any]]) -> None:
    """Print the most probable classes of each image, student and teacher side by side.

    Of more than ten images each is one row, with the most probable class.

    Args:
        predictions: By `stkd.runs.prediction.predict_images`.
    """
    console = plain_console()
    if len(predictions) > _IN_FULL:
        _show_rows(console, predictions)
        return
    for prediction in predictions:
        console.print(Text(printable(prediction["image"]), style="bold"), soft_wrap=True)
        if "error" in prediction:
            console.print(f"  {prediction['error']}\n", soft_wrap=True)
            continue
        models = [name for name in prediction if name != "image"]
        table = Table(box=box.SIMPLE)
        for name in models:
            table.add_column(name)
            table.add_column("", justify="right")
        for row in zip(*(prediction[name] for name in models), strict=True):
            table.add_row(*(cell for answer in row for cell in (answer["class"], f"{answer['probability']:.1%}")))
        console.print(table)


def _show_rows(console: Console, predictions: Sequence[dict[str, Any]]) -> None:
    models = [name for name in next(p for p in predictions if "error" not in p) if name != "image"]
    table = Table(box=box.SIMPLE)
    table.add_column("image", overflow="fold")
    for name in models:
        table.add_column(name, overflow="fold")
        table.add_column("", justify="right")
    for prediction in predictions:
        image = printable(prediction["image"])
        if "error" in prediction:
            table.add_row(image, f"not read: it {prediction['error']}")
            continue
        answers = [prediction[name][0] for name in models]
        table.add_row(image, *(cell for a in answers for cell in (a["class"], f"{a['probability']:.1%}")))
    console.print(table)
    console.print("The most probable class of each; --csv FILE and --json have more.", soft_wrap=True)
