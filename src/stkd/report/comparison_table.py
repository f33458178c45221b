"""The table of a comparison: teachers, then every method with every student on every data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from ..runs.description import duration
from .looks import TEACHER, Look
from .parts import Cell, table
from .record import Panel, Row

__all__ = ["scores_table"]

_EMPTY = Cell("")


def scores_table(record: Mapping[str, Any], panels: Sequence[Panel], looks: Mapping[str, Look]) -> str:
    """The table as HTML; columns that say nothing here are left out.

    Args:
        record: The comparison.
        panels: Its parts.
        looks: Of the methods, for the mark before each name.
    """
    base = record["baseline"]
    header = ["method", "data", "student", "top-1 (%)", "± std", "EMA (%)", "NLL", f"against {base} (points)"]
    header += [
        "95 % interval",
        "p, corrected",
        "seeds",
        "images seen",
        "teacher passes",
        "time of a run",
        "parameters",
        "MACs",
    ]
    rows = [_teacher(data, teacher) for data, teacher in record["teachers"].items()]
    strong = list(range(len(rows)))
    failed: list[list[Cell]] = []
    for panel in panels:
        for row in panel.rows:
            if row.runs:
                rows.append(_row(panel, row, record["students"].get(panel.student, {}), looks[row.name]))
            failed += [_failed(panel, row, f, looks[row.name]) for f in row.cell["failed"]]
    keep = [j for j in range(len(header)) if any(row[j].text for row in rows)]
    if len(panels) == 1:
        keep = [j for j in keep if header[j] not in ("data", "student")]
    elif len({p.student for p in panels}) == 1:
        keep.remove(2)
    elif len({p.data for p in panels}) == 1:
        keep.remove(1)
    lines = [[row[j] for j in keep] for row in rows]
    lines += [[row[0], Cell(row[1].text, span=len(keep) - 1)] for row in failed]
    caption = (
        f"Every method; differences are paired by seed with {base}, intervals and p by Student's t, p corrected for "
        "the number of comparisons. Click a heading to sort."
    )
    return table(caption, [header[j] for j in keep], lines, strong)


def _teacher(data: str, teacher: Mapping[str, Any]) -> list[Cell]:
    test = teacher.get("test") or {}
    return [
        Cell("teacher", colour=TEACHER.colour),
        Cell(data),
        Cell(str(teacher.get("model", ""))),
        _share(test.get("top1")),
        *[_EMPTY] * 2,
        _number(test.get("nll"), ".3f"),
        *[_EMPTY] * 7,
        _number(teacher.get("parameters"), ",.0f"),
        _number(teacher.get("macs"), ",.0f"),
    ]


def _row(panel: Panel, row: Row, student: Mapping[str, Any], look: Look) -> list[Cell]:
    cell, runs = row.cell, row.runs
    paired = (cell["paired"] or {}).get("top1")
    size = {name: cell.get(name) or student.get(name) for name in ("parameters", "macs")}
    seconds = mean(run["seconds"] for run in runs)
    return [
        Cell(row.name, colour=look.colour),
        Cell(panel.data),
        Cell(panel.student),
        _share(row.top1),
        _share(cell["std"].get("top1") if len(runs) > 1 else None),
        _share(cell["mean"].get("ema_top1")),
        _number(cell["mean"].get("nll"), ".3f"),
        Cell(f"{100 * paired['difference']:+.2f}", paired["difference"]) if paired else _EMPTY,
        Cell(f"{100 * paired['low']:+.2f} to {100 * paired['high']:+.2f}", paired["low"]) if paired else _EMPTY,
        _number(paired["p_corrected"] if paired else None, ".3g"),
        _number(len(runs), "d"),
        _number(runs[0]["images_seen"], ",d"),
        _number(runs[0]["teacher_passes"], ",d"),
        Cell(duration(seconds), seconds),
        _number(size["parameters"], ",.0f"),
        _number(size["macs"], ",.0f"),
    ]


def _failed(panel: Panel, row: Row, failure: Mapping[str, Any], look: Look) -> list[Cell]:
    where = f"{panel.name}, seed {failure['seed']}"
    return [Cell(row.name, colour=look.colour), Cell(f"failed ({where}): {failure['why']}")]


def _share(value: float | None) -> Cell:
    return _EMPTY if value is None else Cell(f"{100 * value:.2f}", value)


def _number(value: float | None, form: str) -> Cell:
    return _EMPTY if value is None else Cell(format(value, form), value)
