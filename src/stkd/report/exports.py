"""The exported files of a run: whether they answer alike, and how fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .integers import in_integers
from .tables import Cell, Table, number, percent

__all__ = ["exports"]


def exports(records: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Values of the section, from what is kept about the files (`stkd.runs.exports`); None if there are none."""
    if not records:
        return None
    header = ["file", "runtime", "MB", "images", "largest difference", "equal top-1 (%)"]
    header += ["1 image (ms)", "PyTorch (ms)", "64 images (ms)", "PyTorch, 64 (ms)"]
    threads = sorted({record["timing"]["threads"] for record in records})
    caption = (
        "Each file against the PyTorch model on real images (largest difference of a logit), timed with "
        f"{' or '.join(map(str, threads))} thread{'' if threads == [1] else 's'}: medians, of float32 images."
    )
    tables = [Table(caption, header, [_row(record) for record in records])]
    return {"tables": [*tables, *(table for record in records for table in in_integers(record))]}


def _row(record: Mapping[str, Any]) -> list[Cell]:
    agreement, timing = record["agreement"], record["timing"]
    return [
        Cell(record["file"]),
        Cell(record["runtime"]),
        number(record["bytes"] / 1e6, ".2f"),
        number(agreement["images"], ","),
        number(agreement["largest_difference"], ".1e"),
        percent(agreement["equal_top1"]),
        *(number(timing[size][who]["median_ms"], ".2f") for size in ("1", "64") for who in ("file", "torch")),
    ]
