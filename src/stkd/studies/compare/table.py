"""The table of a comparison, also as Markdown and LaTeX."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

__all__ = ["Table", "latex", "markdown", "table"]


@dataclass(frozen=True)
class Table:
    """Text of a table.

    Attributes:
        header: Names of the columns.
        words: Number of columns at the left that hold text; the others hold numbers.
        rows: As many cells as the header has.
        notes: Sentences below it.
    """

    header: list[str]
    words: int
    rows: list[list[str]]
    notes: list[str]


def table(record: dict[str, Any]) -> Table:
    """The table of a record (see docs/compare.md): a row for each teacher, then a row for each cell."""
    cells: list[dict[str, Any]] = record["cells"]
    named = {
        key: title for key, title in (("data", "data"), ("student", "student")) if len({c[key] for c in cells}) > 1
    }
    averaged = any("ema_top1" in c["mean"] for c in cells)
    header = [*named.values(), "method", "accuracy (%)"] + (["EMA (%)"] if averaged else [])
    header += ["NLL", f"to {record['baseline']} (points)", "p", "images", "teacher passes", "seconds"]
    blank = [""] * (len(header) - len(named) - 3 - averaged)
    rows = []
    for data, teacher in record["teachers"].items():
        test = teacher["test"]
        if test is not None:
            where = [{"data": data, "student": ""}[key] for key in named]
            scores = [f"{100 * test['top1']:.2f}", *([""] if averaged else []), f"{test['nll']:.3f}"]
            rows.append([*where, f"teacher ({teacher['model']})", *scores, *blank])
    rows += [[*(c[key] for key in named), c["method"], *_numbers(c, averaged)] for c in cells]
    return Table(header, len(named) + 1, rows, _notes(record))


def _numbers(cell: dict[str, Any], averaged: bool) -> list[str]:
    mean, std = cell["mean"], cell["std"]
    asked, made = len(cell["runs"]) + len(cell["failed"]), len(cell["runs"])
    if not made:
        return ["failed", *[""] * (6 + averaged)]
    part = f" ({made} of {asked})" if made < asked else ""
    paired = (cell["paired"] or {}).get("top1")
    return [
        _spread(mean["top1"], std["top1"]) + part,
        *([_spread(mean["ema_top1"], std["ema_top1"]) if "ema_top1" in mean else ""] if averaged else []),
        f"{mean['nll']:.3f}",
        ""
        if paired is None
        else "{:+.2f} [{:+.2f}, {:+.2f}]".format(*(100 * paired[name] for name in ("difference", "low", "high"))),
        "" if paired is None else f"{paired['p_corrected']:.2g}",
        f"{mean['images_seen']:,.0f}",
        f"{mean['teacher_passes']:,.0f}",
        f"{mean['seconds']:,.{0 if mean['seconds'] >= 10 else 1}f}",
    ]


def _spread(mean: float, std: float | None) -> str:
    return f"{100 * mean:.2f}" + ("" if std is None else f" ± {100 * std:.2f}")


def _notes(record: dict[str, Any]) -> list[str]:
    seeds = len(record["protocol"]["seeds"])
    notes = [f"Test split, last epoch, mean ± standard deviation over {seeds} seed{'s' if seeds > 1 else ''}."]
    tests = [c["paired"]["top1"] for c in record["cells"] if "top1" in (c["paired"] or {})]
    if tests:
        pairs = sorted({t["pairs"] for t in tests})
        notes.append(
            f"Difference to {record['baseline']} seed by seed with its 95 % interval, and p, by Student's t on "
            f"n = {' or '.join(map(str, pairs))} pairs; p corrected for {len(tests)} "
            f"comparison{'s' if len(tests) > 1 else ''} (Holm)."
        )
        notes += [_leader(record, leader) for leader in record["best"]]
    elif seeds == 1:
        notes.append("One seed: no interval, and no difference is shown to be more than chance.")
    notes += [
        f"Failed: {c['data']} {c['student']} {c['method']}, seed {f['seed']}: {f['why']}"
        for c in record["cells"]
        for f in c["failed"]
    ]
    return notes


def _leader(record: dict[str, Any], leader: dict[str, Any]) -> str:
    """Which method is best with one student on one data set, or that none is shown to be."""
    where = f" ({leader['student']} on {leader['data']})" if len(record["best"]) > 1 else ""
    if leader["method"] is None:
        return f"No method is shown to be better than every other one{where}."
    return f"Best{where}: {leader['method']}, better than every other method (p < 0.05 after Bonferroni's correction)."


def markdown(table: Table) -> str:
    """The table as GitHub's Markdown."""
    rules = ["---"] * table.words + ["---:"] * (len(table.header) - table.words)
    lines = ["| " + " | ".join(c.replace("|", r"\|") for c in row) + " |" for row in (table.header, rules, *table.rows)]
    return "\n".join([*lines, "", *table.notes, ""])


_LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
)


def latex(table: Table) -> str:
    """The table for LaTeX with the package booktabs."""
    lines = [" & ".join(_escaped(c) for c in row) + r" \\" for row in (table.header, *table.rows)]
    columns = "l" * table.words + "r" * (len(table.header) - table.words)
    notes = [f"% {' '.join(note.split())}" for note in table.notes]
    top, bottom = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule"], [r"\bottomrule"]
    return "\n".join([*notes, *top, *lines[1:], *bottom, r"\end{tabular}", ""])


def _escaped(text: str) -> str:
    """A cell; numbers with a sign are set as mathematics, where a minus is a minus."""
    return (
        re.sub(r"[+-][\d.]+(?![\w.])", r"$\g<0>$", text.translate(_LATEX))
        if text[:1] in "+-"
        else text.translate(_LATEX)
    )
