"""The most probable classes of images."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["show_predictions"]


def show_predictions(predictions: list[dict[str, Any]]) -> None:
    """Print the most probable classes of each image, student and teacher side by side.

    Args:
        predictions: By `stkd.runs.prediction.predict_images`.
    """
    console = Console()
    for prediction in predictions:
        console.print(Text(prediction["image"], style="bold"), soft_wrap=True)
        models = [name for name in prediction if name != "image"]
        table = Table(box=box.SIMPLE)
        for name in models:
            table.add_column(Text(name))
            table.add_column("", justify="right")
        for row in zip(*(prediction[name] for name in models), strict=True):
            table.add_row(*(Text(cell) for answer in row for cell in (answer["class"], f"{answer['probability']:.1%}")))
        console.print(table)
