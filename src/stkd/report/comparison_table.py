"""The table of a comparison: teachers, then every method with every student on every data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from ..runs.description import duration
from .comparison_record import Panel, Row
from .styles import TEACHER, Style
from .tables import EMPTY, Cell, Table, number, percent

__all__ = ["comparison_tables"]

_SCORES = ("top-1 (%)", "± std", "EMA (%)", "NLL", "95 % interval", "p, corrected", "seeds")
_WORK = ("images seen", "teacher passes", "time of a run", "parameters", "MACs")


def comparison_tables(
    record: Mapping[str, Any], panels: Sequence[Panel], styles: Mapping[str, Style]
) -> tuple[Table, Table]:
    """Scores of every method, and what it costs: two tables, each no wider than a screen.

    Columns that say nothing here are left out.

    Args:
        record: The comparison.
        panels: Its parts.
        styles: Of the methods, for the mark before each name.
    """
    baseline = record["baseline"]
    difference = f"against {baseline} (points)"
    header = ["method", "data", "student", *_SCORES[:4], difference, *_SCORES[4:], *_WORK]
    teachers = [_teacher(data, teacher) for data, teacher in record["teachers"].items()]
    rows, failed = [], []
    for panel in panels:
        for row in panel.rows:
            style = styles[row.name]
            if row.runs:
                rows.append(_row(panel, row, record["students"].get(panel.student, {}), style))
            failed += [(panel, failure, Cell(row.name, colour=style.colour)) for failure in row.cell["failed"]]
    caption = (
        f"Every method; differences are paired by seed with {baseline}, intervals and p by Student's t, p corrected "
        "for the number of comparisons. Click a heading to sort."
    )
    same = [name for name in ("data", "student") if len({getattr(panel, name) for panel in panels}) == 1]
    whole = Table(caption, header, [*teachers, *rows], strong=len(teachers))
    table = whole.without_columns(*same, *_WORK)
    costs = whole.without_columns(*same, *_SCORES, difference)
    reasons = [
        [name, Cell(f"failed ({panel.name}, seed {f['seed']}): {f['why']}", span=len(table.header) - 1)]
        for panel, f, name in failed
    ]
    scores = Table(caption, table.header, [*table.rows, *reasons], table.strong)
    return scores, dataclasses.replace(costs, caption="Work of one run, and the size of its model.")


def _teacher(data: str, teacher: Mapping[str, Any]) -> list[Cell]:
    test = teacher.get("test") or {}
    return [
        Cell("teacher", colour=TEACHER.colour),
        Cell(data),
        Cell(str(teacher.get("model", ""))),
        percent(test.get("top1")),
        *[EMPTY] * 2,
        number(test.get("nll"), ".3f"),
        *[EMPTY] * 7,
        number(teacher.get("parameters"), ",.0f"),
        number(teacher.get("macs"), ",.0f"),
    ]


def _row(panel: Panel, row: Row, student: Mapping[str, Any], style: Style) -> list[Cell]:
    cell, runs = row.cell, row.runs
    paired = (cell["paired"] or {}).get("top1") or {}
    low, high = paired.get("low"), paired.get("high")
    difference = paired.get("difference")
    seconds = mean(run["seconds"] for run in runs)
    return [
        Cell(row.name, colour=style.colour),
        Cell(panel.data),
        Cell(panel.student),
        percent(row.top1),
        percent(cell["std"].get("top1") if len(runs) > 1 else None),
        percent(cell["mean"].get("ema_top1")),
        number(cell["mean"].get("nll"), ".3f"),
        EMPTY if difference is None else Cell(f"{100 * difference:+.2f}", difference),
        EMPTY if low is None or high is None else Cell(f"{100 * low:+.2f} to {100 * high:+.2f}", low),
        number(paired.get("p_corrected"), ".3g"),
        number(len(runs), "d"),
        number(runs[0]["images_seen"], ",d"),
        number(runs[0]["teacher_passes"], ",d"),
        Cell(duration(seconds), seconds),
        *(number(cell.get(name) or student.get(name), ",.0f") for name in ("parameters", "macs")),
    ]
