"""The whole story in a minute: a teacher, and a small student that has seen few digits, taught in four ways."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .api import run_distill, run_train
from .config import DistillConfig, TrainConfig, build
from .evaluation import latency, macs, parameters
from .files import write_atomic
from .report.comparison import write_comparison
from .report.record import RECORD
from .saved import load_model
from .training.run import environment

__all__ = ["demo"]

# Chosen on a validation split of the training digits (25 % held out), never on the test split.
_TEACHER: dict[str, Any] = {"model": "cnn32", "epochs": 30}
_STUDENT: dict[str, Any] = {"student": "cnn4", "epochs": 90, "train_images": 150}
_COMMON: dict[str, Any] = {"data": "digits", "precision": "32", "warmup_epochs": 1.0, "eval_every": 5}
_METHODS = {"student alone": "ce", "mixup": "mixup", "KD": "kd", "STKD": "stkd"}
_SEEDS = range(5)


@dataclass(frozen=True)
class _Row:
    """A line of the table."""

    name: str
    accuracies: list[float]
    params: int
    latency_ms: float


def demo(out: Path) -> None:
    """Train teacher and students on scikit-learn's digits, print the table, write the page.

    Args:
        out: Directory of the runs; `report.html` and `results.json` are written beside them.

    Raises:
        StkdError: The directory cannot be used.
    """
    began = time.monotonic()
    runs = {name: [out / f"{method}-{seed}" for seed in _SEEDS] for name, method in _METHODS.items()}
    _train_all(out, runs)
    rows = [_row("teacher", [out / "teacher"]), *(_row(name, paths) for name, paths in runs.items())]
    _print(rows, time.monotonic() - began)
    write_atomic(out / "results.json", json.dumps(_record(rows), indent=1) + "\n")
    write_atomic(out / RECORD, json.dumps(_comparison(out, runs), indent=1) + "\n")
    write_comparison(out, "stkd demo: handwritten digits", _story(), "stkd demo --out DIR")
    Console().print(f"Curves and all runs: {out / 'report.html'}", soft_wrap=True)


def _train_all(out: Path, runs: dict[str, list[Path]]) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown = sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=not shown, transient=True) as progress:
        task = progress.add_task("teacher", total=1 + len(runs) * len(_SEEDS))
        run_train(build(TrainConfig, {**_COMMON, **_TEACHER, "out": out / "teacher"}), progress=False)
        progress.advance(task)
        for (name, paths), method in zip(runs.items(), _METHODS.values(), strict=True):
            for seed, path in zip(_SEEDS, paths, strict=True):
                progress.update(task, description=f"{name}, seed {seed}")
                chosen = {"method": method, "seed": seed, "out": path, "teacher_weights": out / "teacher"}
                run_distill(build(DistillConfig, {**_COMMON, **_STUDENT, **chosen}), progress=False)
                progress.advance(task)


def _row(name: str, paths: list[Path]) -> _Row:
    accuracies = [_result(path)["test"]["top1"] for path in paths]
    model, card = load_model(paths[0])
    return _Row(name, accuracies, parameters(model), latency(model, card.channels, card.size, 1, runs=50))


_CAPTION = f"Last epoch, mean ± standard deviation over {len(_SEEDS)} seeds; latency at batch 1."


def _cells(rows: list[_Row]) -> list[list[str]]:
    teacher = rows[0]
    return [
        [
            row.name,
            _percent(row.accuracies),
            f"{row.params:,}",
            f"{teacher.params / row.params:.0f}x",
            f"{row.latency_ms:.2f}",
        ]
        for row in rows
    ]


def _percent(shares: list[float]) -> str:
    spread = f" ± {100 * stdev(shares):.2f}" if len(shares) > 1 else ""
    return f"{100 * mean(shares):.2f}{spread}"


_HEADER = ("", "test accuracy (%)", "parameters", "compression", "latency (ms)")


def _print(rows: list[_Row], seconds: float) -> None:
    shown = Table(title="Handwritten digits, 8x8", box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    shown.caption = f"{_story()} {_CAPTION} {seconds:.0f} s."
    for i, name in enumerate(_HEADER):
        shown.add_column(name, justify="left" if i == 0 else "right")
    for cells in _cells(rows):
        shown.add_row(*cells)
    Console().print(shown)


def _story() -> str:
    return (
        f"The teacher ({_TEACHER['model']}) learnt from all 1,297 training digits; "
        f"the student ({_STUDENT['student']}) sees {_STUDENT['train_images']} of them."
    )


def _record(rows: list[_Row]) -> dict[str, Any]:
    return {
        "what": "stkd demo: test accuracy of the last epoch on scikit-learn's digits (500 test images)",
        "protocol": {"common": _COMMON, "teacher": _TEACHER, "student": _STUDENT, "methods": _METHODS},
        "seeds": list(_SEEDS),
        "environment": environment(),
        "rows": [vars(row) for row in rows],
    }


def _comparison(out: Path, runs: dict[str, list[Path]]) -> dict[str, Any]:
    """The demo as a comparison, for its page."""
    sizes = {}
    for name, path in (("teacher", out / "teacher"), ("student", runs["student alone"][0])):
        model, card = load_model(path)
        sizes[name] = {"parameters": parameters(model), "macs": macs(model, card.channels, card.size)}
    teacher = {"model": _TEACHER["model"], "path": "teacher", "test": _result(out / "teacher")["test"]}
    return {
        "schema": 1,
        "protocol": {"options": _COMMON | _STUDENT, "teacher": _TEACHER, "methods": _METHODS},
        "environment": environment(),
        "baseline": "student alone",
        "teachers": {"digits": teacher | sizes["teacher"]},
        "students": {_STUDENT["student"]: sizes["student"]},
        "cells": [_cell(out, name, paths) for name, paths in runs.items()],
    }


def _cell(out: Path, name: str, paths: list[Path]) -> dict[str, Any]:
    results = [_result(path) for path in paths]
    scores = {score: [r["test"][score] for r in results] for score in ("top1", "nll")}
    kept = ("test", "images_seen", "teacher_passes", "seconds")
    return {
        "data": "digits",
        "student": _STUDENT["student"],
        "method": name,
        "spec": _METHODS[name],
        "runs": [
            {"seed": seed, "path": str(path.relative_to(out)), **{k: result[k] for k in kept}}
            for seed, path, result in zip(_SEEDS, paths, results, strict=True)
        ],
        "mean": {score: mean(values) for score, values in scores.items()},
        "std": {score: stdev(values) for score, values in scores.items()},
    }


def _result(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "result.json").read_text())
    return found
