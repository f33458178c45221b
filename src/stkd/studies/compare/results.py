"""The result file of a comparison: what docs/compare.md describes as comparison.json."""

from __future__ import annotations

import dataclasses
import os
from functools import cache
from pathlib import Path
from typing import Any

from ...core.config import plain_value
from ...core.errors import StkdError
from ...evaluation import macs, parameters
from ...models.files import ModelInfo, find_weights, read_info
from ...runs.directory import read_result
from ...runs.environment import environment
from ..statistics import best, holm, paired_difference, summary
from .grid import Cell, Grid, Task
from .schedule import Failures

__all__ = ["SCHEMA", "SCORES", "add_differences", "record"]

SCHEMA = 2
"""2: intervals and p-values are those of the paired t-test, and `best` was added."""

SCORES = ("top1", "nll")
"""Scores that methods are compared by."""

_WORK = ("images_seen", "teacher_passes", "seconds", "images_per_s")


def record(grid: Grid, failures: Failures) -> dict[str, Any]:
    """The content of comparison.json, from the result of each run.

    Args:
        grid: The runs.
        failures: Those that failed, and why.

    Raises:
        StkdError: A data set has no test split, or a finished run is damaged.
    """
    cells = [_cell(grid, cell, failures) for cell in grid.cells]
    return add_differences(
        {
            "schema": SCHEMA,
            "protocol": plain_value_of(dataclasses.asdict(grid.comparison)),
            "environment": environment(),
            "baseline": grid.comparison.baseline,
            "teachers": _teachers(grid),
            "students": _students(grid),
            "cells": cells,
        }
    )


def plain_value_of(value: Any) -> Any:
    """Nested options as JSON has them."""
    if isinstance(value, dict):
        return {k: plain_value_of(v) for k, v in value.items()}
    return plain_value(value)


def _cell(grid: Grid, cell: Cell, failures: Failures) -> dict[str, Any]:
    runs = [_run(grid, seed, task) for seed, task in cell.runs.items() if task.config.out not in failures]
    failed = [
        {"seed": seed, "why": failures[task.config.out]}
        for seed, task in cell.runs.items()
        if task.config.out in failures
    ]
    columns: dict[str, list[float]] = {name: [r["test"][name] for r in runs] for name in SCORES}
    columns |= {name: [r[name] for r in runs] for name in _WORK}
    if runs and all(r["ema"] for r in runs):
        columns |= {f"ema_{name}": [r["ema"][name] for r in runs] for name in SCORES}
    summaries = {name: summary(values) for name, values in columns.items() if values}
    return {
        "data": cell.data,
        "student": cell.student,
        "method": cell.label,
        "spec": cell.spec,
        "mix": dataclasses.asdict(cell.mix),
        **(_size(grid.out / runs[0]["path"]) if runs else {"parameters": None, "macs": None}),
        "runs": runs,
        "failed": failed,
        "mean": {name: average for name, (average, _) in summaries.items()},
        "std": {name: spread for name, (_, spread) in summaries.items()},
        "paired": None,
    }


def _run(grid: Grid, seed: int, task: Task) -> dict[str, Any]:
    result = read_result(task.config.out)
    assert result is not None
    if "test" not in result:
        raise StkdError(f"{task.config.data} has no test split, so there is nothing to compare on")
    return {
        "seed": seed,
        "path": _path(grid, task.config.out),
        "test": result["test"],
        "ema": result.get("ema", {}).get("test"),
        "images_seen": result["images_seen"],
        "teacher_passes": result["teacher_passes"],
        "seconds": result["seconds"],
        "images_per_s": round(result["images_seen"] / max(result["seconds"], 0.01), 1),  # seconds are rounded
    }


def _path(grid: Grid, path: Path) -> str:
    """Relative to the comparison's directory, wherever the command was given."""
    return Path(os.path.relpath(path, grid.out)).as_posix()


def _size(run: Path) -> dict[str, int | None]:
    info = read_info(find_weights(run))
    return _counted(info) if info is not None else {"parameters": None, "macs": None}


@cache
def _counted(info: ModelInfo) -> dict[str, int | None]:
    """Size of a model for the classes and images that its weights file names."""
    try:
        model = info.build().eval()
    except StkdError:
        return {"parameters": None, "macs": None}  # weights without a name to build them by
    return {"parameters": parameters(model), "macs": macs(model, info.channels, info.size)}


def _teachers(grid: Grid) -> dict[str, Any]:
    """The teacher of each data set, as far as its files are there."""
    teachers = {}
    for data in grid.comparison.data:
        given = grid.comparison.options.get("teacher_weights")
        path = grid.teachers[data].config.out if data in grid.teachers else given
        if path is None:
            continue
        try:
            file = find_weights(Path(path))
        except StkdError:
            continue  # its training failed, as every cell says
        info = read_info(file)
        result = read_result(Path(path)) or {}
        teachers[data] = {
            "model": info.model if info is not None else grid.comparison.options.get("teacher"),
            "path": _path(grid, Path(path)),
            "test": result.get("test"),
            **(_counted(info) if info is not None else {"parameters": None, "macs": None}),
        }
    return teachers


def _students(grid: Grid) -> dict[str, Any]:
    """Size of each student without what a method adds to it, for the first data set."""
    sizes: dict[str, Any] = {name: {"parameters": None, "macs": None} for name in grid.comparison.students}
    for cell in reversed(grid.cells):
        for task in cell.runs.values():
            if read_result(task.config.out) is not None and (info := read_info(find_weights(task.config.out))):
                sizes[cell.student] = _counted(dataclasses.replace(info, model=cell.student))
                break
    return sizes


def add_differences(record: dict[str, Any]) -> dict[str, Any]:
    """A record with the paired differences of its cells and the best methods, computed from the scores of its runs.

    P-values are corrected over all comparisons with the baseline of one score in the record.
    """
    cells = [{**cell, "paired": None} for cell in record["cells"]]
    groups: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["data"], cell["student"]), {})[cell["method"]] = cell
    for score in SCORES:
        compared = []
        for group in groups.values():
            reference = group[record["baseline"]]
            for cell in group.values():
                paired = paired_difference(_by_seed(cell, score), _by_seed(reference, score))
                if paired is not None and cell is not reference:
                    cell["paired"] = {**(cell["paired"] or {}), score: dataclasses.asdict(paired)}
                    compared.append(cell["paired"][score])
        for difference, corrected in zip(compared, holm([d["p"] for d in compared]), strict=True):
            difference["p_corrected"] = corrected
    leaders = [
        {"data": data, "student": student, "method": best({m: _by_seed(c, "top1") for m, c in group.items()})}
        for (data, student), group in groups.items()
    ]
    return {**record, "schema": SCHEMA, "best": leaders, "cells": cells}


def _by_seed(cell: dict[str, Any], score: str) -> dict[int, float]:
    return {run["seed"]: run["test"][score] for run in cell["runs"]}
