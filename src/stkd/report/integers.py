"""What an exported file in integers costs: its accuracy, and which layers lose how much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .tables import Cell, Table, number, percent

__all__ = ["in_integers"]


def in_integers(record: Mapping[str, Any]) -> Iterator[Table]:
    """Tables about a file in integers; none about a file in float.

    Args:
        record: What is kept about the file (`stkd.runs.exports`).
    """
    if (accuracy := record.get("accuracy")) is not None:
        header = ["file", "images", "float (%)", "file (%)", "points lost", "equal top-1 (%)"]
        row = [
            Cell(record["file"]),
            number(accuracy["images"], ","),
            percent(accuracy["float"]),
            percent(accuracy["file"]),
            number(accuracy["drop"], ".2f"),
            percent(accuracy["equal_top1"]),
        ]
        yield Table(
            f"Accuracy of the file on all {accuracy['split']} images, beside the model in float.", header, [row]
        )
    if layers := record.get("sensitivity"):
        caption = (
            f"What each layer of {record['file']} loses: that layer alone in integers, on training images, against the "
            "model in float (mean KL divergence of the probabilities, share of equal classes)."
        )
        rows = [[Cell(one["layer"]), number(one["kl"], ".2e"), percent(one["equal_top1"])] for one in layers]
        yield Table(caption, ["layer", "KL (nats)", "equal top-1 (%)"], rows)
