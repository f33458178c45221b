"""The whole story in a few minutes: a teacher, and a small student that has seen few digits, taught in four ways."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ..core.errors import StkdError
from ..core.files import write_atomic
from ..evaluation import latency
from ..models.files import load_model
from ..report.comparison import write_comparison
from .compare.spec import Comparison
from .compare.study import compare

__all__ = ["demo"]

# Chosen on a validation split of the training digits (25 % held out), never on the test split.
_COMMON: dict[str, Any] = {"precision": "32", "warmup_epochs": 1.0, "eval_every": 5}
_RECIPE: dict[str, Any] = {
    "data": "digits",
    "students": "cnn4",
    "methods": {"alone": "ce", "mixup": "mixup", "KD": "kd", "STKD": "stkd"},
    "baseline": "alone",
    "seeds": 5,
    "options": {**_COMMON, "epochs": 90, "train_images": 150},
    "teacher": {**_COMMON, "model": "cnn32", "epochs": 30},
}
_NAMES = {"alone": "student alone"}


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
        out: Directory of the comparison; `report.html` and `results.json` are written into it.

    Raises:
        StkdError: The directory cannot be used, or a run failed.
    """
    began = time.monotonic()
    found = compare(Comparison.of(_RECIPE), out, jobs=1)
    rows = _rows(out, found)
    _print(rows, time.monotonic() - began)
    write_atomic(out / "results.json", json.dumps(_record(found, rows), indent=1) + "\n")
    page = write_comparison(out, "stkd demo: handwritten digits", _story(), "stkd demo --out DIR")
    Console().print(f"Curves and all runs: {page}", soft_wrap=True)


def _rows(out: Path, found: dict[str, Any]) -> list[_Row]:
    for cell in found["cells"]:
        for failure in cell["failed"]:
            raise StkdError(f"{cell['method']}, seed {failure['seed']}: {failure['why']}")
    (teacher,) = found["teachers"].values()
    rows = [_row("teacher", [teacher["test"]["top1"]], teacher["parameters"], out / teacher["path"])]
    for cell in found["cells"]:
        name, accuracies = _NAMES.get(cell["method"], cell["method"]), [run["test"]["top1"] for run in cell["runs"]]
        rows.append(_row(name, accuracies, cell["parameters"], out / cell["runs"][0]["path"]))
    return rows


def _row(name: str, accuracies: list[float], params: int, run: Path) -> _Row:
    model, info = load_model(run)
    return _Row(name, accuracies, params, latency(model, info.channels, info.size, 1, runs=50))


_CAPTION = "Last epoch, mean ± standard deviation over {} seeds; latency at batch 1."
_HEADER = ("", "test accuracy (%)", "parameters", "compression", "latency (ms)")


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


def _print(rows: list[_Row], seconds: float) -> None:
    shown = Table(title="Handwritten digits, 8x8", box=box.SIMPLE_HEAD, title_justify="left", caption_justify="left")
    shown.caption = f"{_story()} {_CAPTION.format(_RECIPE['seeds'])} {seconds:.0f} s."
    for i, name in enumerate(_HEADER):
        shown.add_column(name, justify="left" if i == 0 else "right")
    for cells in _cells(rows):
        shown.add_row(*cells)
    Console().print(shown)


def _story() -> str:
    return (
        f"The teacher ({_RECIPE['teacher']['model']}) learnt from all 1,297 training digits; "
        f"the student ({_RECIPE['students']}) sees {_RECIPE['options']['train_images']} of them."
    )


def _record(found: dict[str, Any], rows: list[_Row]) -> dict[str, Any]:
    return {
        "what": "stkd demo: test accuracy of the last epoch on scikit-learn's digits (500 test images)",
        "protocol": found["protocol"],
        "environment": found["environment"],
        "rows": [vars(row) for row in rows],
    }
