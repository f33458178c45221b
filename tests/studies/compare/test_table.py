"""The table, from a record that was written by hand."""

from __future__ import annotations

from typing import Any

import pytest

from stkd.cli.tables.comparison import show_comparison
from stkd.studies.compare.table import latex, markdown, table


def cell(method: str, **changed: Any) -> dict[str, Any]:
    mean = {"top1": 0.5, "nll": 1.25, "images_seen": 40000, "teacher_passes": 40000, "seconds": 12.3}
    found = {"data": "digits", "student": "cnn2", "method": method, "runs": [1, 2, 3], "failed": [], "paired": None}
    return {**found, "mean": mean, "std": {"top1": 0.01}, **changed}


@pytest.fixture
def record() -> dict[str, Any]:
    paired = {"difference": -0.0125, "low": -0.02, "high": 0.005, "p": 0.25, "pairs": 3, "p_corrected": 0.5}
    return {
        "baseline": "kd_1",
        "protocol": {"seeds": [0, 1, 2]},
        "teachers": {"digits": {"model": "cnn4", "test": {"top1": 0.9876, "nll": 0.1}}},
        "best": [{"data": "digits", "student": "cnn2", "method": None}],
        "cells": [
            cell("kd_1"),
            cell("a|b", paired={"top1": paired}),
            cell("half", runs=[1], failed=[{"seed": 1, "why": "no"}, {"seed": 2, "why": "no"}], std={"top1": None}),
            cell("none", runs=[], failed=[{"seed": s, "why": "no"} for s in range(3)], mean={}, std={}),
        ],
    }


def test_markdown(record: dict[str, Any]) -> None:
    lines = markdown(table(record)).splitlines()
    assert lines[0] == "| method | accuracy (%) | NLL | to kd_1 (points) | p | images | teacher passes | seconds |"
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert lines[2] == "| teacher (cnn4) | 98.76 | 0.100 |  |  |  |  |  |"
    assert lines[3] == "| kd_1 | 50.00 ± 1.00 | 1.250 |  |  | 40,000 | 40,000 | 12 |"
    assert lines[4] == r"| a\|b | 50.00 ± 1.00 | 1.250 | -1.25 [-2.00, +0.50] | 0.5 | 40,000 | 40,000 | 12 |"
    assert lines[5].startswith("| half | 50.00 (1 of 3) |")
    assert lines[6].startswith("| none | failed |")
    assert all(line.count(" | ") == 7 for line in lines[:7])
    assert "Failed: digits cnn2 half, seed 2: no" in lines
    assert any("Student's t on n = 3 pairs; p corrected for 1 comparison (Holm)" in line for line in lines)
    assert "No method is shown to be better than every other one." in lines


def test_best_is_said_where_it_is_shown(record: dict[str, Any]) -> None:
    record["best"] = [{"data": "digits", "student": "cnn2", "method": "a|b"}]
    assert any(note.startswith("Best: a|b, better than every other method") for note in table(record).notes)


def test_one_seed_has_no_interval(record: dict[str, Any]) -> None:
    record["protocol"]["seeds"] = [0]
    record["cells"] = record["cells"][:1]
    notes = " ".join(table(record).notes)
    assert "One seed: no interval" in notes
    assert "Best" not in notes


def test_columns_that_say_something_new(record: dict[str, Any]) -> None:
    other = cell("kd_1", data="pictures", student="cnn4")
    other["mean"] |= {"ema_top1": 0.75}
    other["std"] |= {"ema_top1": 0.02}
    record["cells"].append(other)
    found = table(record)
    assert found.header[:5] == ["data", "student", "method", "accuracy (%)", "EMA (%)"]
    assert found.rows[-1][:5] == ["pictures", "cnn4", "kd_1", "50.00 ± 1.00", "75.00 ± 2.00"]
    assert found.rows[0][:5] == ["digits", "", "teacher (cnn4)", "98.76", ""]
    assert {len(row) for row in found.rows} == {len(found.header)}


def test_latex_is_escaped(record: dict[str, Any]) -> None:
    text = latex(table(record))
    assert r"kd\_1 & 50.00 $\pm$ 1.00 & 1.250" in text
    assert r"& $-1.25$ [$-2.00$, $+0.50$] &" in text
    assert r"accuracy (\%)" in text
    assert text.count(r"\\") == 6
    assert r"\begin{tabular}{lrrrrrrr}" in text


def test_terminal_shows_every_row_and_failure(record: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    show_comparison(table(record), "out")
    shown = capsys.readouterr().out
    for text in ("teacher (cnn4)", "a|b", "-1.25 [-2.00, +0.50]", "failed", "half, seed 1: no"):
        assert text in shown
