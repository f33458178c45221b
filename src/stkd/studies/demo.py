"""A small student that sees a few digits many times, trained in four ways, in a few minutes: `stkd demo`."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import StkdError
from ..core.files import write_atomic
from ..evaluation import latency
from ..models.files import load_model
from ..report.comparison import write_comparison
from ..runs.directory import read_metrics
from .compare.recipe import Comparison
from .compare.study import compare
from .statistics import paired_difference

__all__ = ["Demo", "DemoRow", "add_differences", "demo"]

# Chosen on a validation split of the training digits (25 % held out), never on the test split.
_COMMON: dict[str, Any] = {"precision": "32", "warmup_epochs": 1.0, "drop_last": True}
_RECIPE: dict[str, Any] = {
    "data": "digits",
    "students": "cnn8",
    "methods": {"alone": "ce", "mixup": "mixup", "KD": "kd", "STKD": "stkd"},
    "baseline": "KD",
    "seeds": 5,
    "options": {**_COMMON, "epochs": 300, "train_images": 150, "eval_every": 10, "checkpoint_epochs": 100},
    "teacher": {**_COMMON, "model": "cnn32", "epochs": 30, "eval_every": 5},
}
_NAMES = {"alone": "student alone"}


@dataclass(frozen=True)
class DemoRow:
    """A model of the demo.

    Attributes:
        name: "teacher", or how the student was trained.
        accuracies: Test accuracy after the last epoch, for each seed.
        params: Parameters.
        latency_ms: Milliseconds for one image.
        curves: Test accuracy by epoch, for each seed; those of the teacher are left out.
    """

    name: str
    accuracies: list[float]
    params: int
    latency_ms: float
    curves: list[dict[int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Demo:
    """What the demo has made.

    Attributes:
        rows: The teacher, then a row for each way to train the student.
        story: What was trained on what, in a sentence.
        page: The page, with curves and all runs.
        seconds: Time that it took.
    """

    rows: list[DemoRow]
    story: str
    page: Path
    seconds: float


def demo(out: Path) -> Demo:
    """Train teacher and students on scikit-learn's digits, and write the page.

    Args:
        out: Directory of the comparison; `report.html` and `results.json` are written into it.

    Raises:
        StkdError: The directory cannot be used, or a run failed.
    """
    began = time.monotonic()
    record = compare(Comparison.of(_RECIPE), out)
    rows = _rows(out, record)
    result = {
        "what": "stkd demo: test accuracy of the last epoch on scikit-learn's digits (500 test images)",
        "protocol": record["protocol"],
        "environment": record["environment"],
        "rows": [vars(row) for row in rows],
    }
    write_atomic(out / "results.json", json.dumps(add_differences(result), indent=1) + "\n")
    page = write_comparison(out, "stkd demo: handwritten digits", _story(), "stkd demo --out DIR")
    return Demo(rows, _story(), page, time.monotonic() - began)


def add_differences(result: dict[str, Any]) -> dict[str, Any]:
    """The content of results.json with each student's paired difference in accuracy to KD, as `to_kd`."""
    accuracies = {row["name"]: dict(enumerate(row["accuracies"])) for row in result["rows"]}

    def to_kd(name: str) -> dict[str, Any] | None:
        difference = paired_difference(accuracies[name], accuracies["KD"]) if name not in ("teacher", "KD") else None
        return dataclasses.asdict(difference) if difference else None

    return {**result, "rows": [{**row, "to_kd": to_kd(row["name"])} for row in result["rows"]]}


def _rows(out: Path, record: dict[str, Any]) -> list[DemoRow]:
    for cell in record["cells"]:
        for failure in cell["failed"]:
            raise StkdError(f"{cell['method']}, seed {failure['seed']}: {failure['why']}")
    (teacher,) = record["teachers"].values()
    rows = [_row("teacher", [teacher["test"]["top1"]], teacher["parameters"], out / teacher["path"])]
    for cell in record["cells"]:
        name, accuracies = _NAMES.get(cell["method"], cell["method"]), [run["test"]["top1"] for run in cell["runs"]]
        runs = [out / run["path"] for run in cell["runs"]]
        rows.append(_row(name, accuracies, cell["parameters"], runs[0], [_curve(run) for run in runs]))
    return rows


def _row(
    name: str, accuracies: list[float], params: int, run: Path, curves: Sequence[dict[int, float]] = ()
) -> DemoRow:
    model, info = load_model(run)
    return DemoRow(name, accuracies, params, latency(model, info.channels, info.size, 1, runs=50), list(curves))


def _curve(run: Path) -> dict[int, float]:
    return {row["epoch"]: row["test_top1"] for row in read_metrics(run) if "test_top1" in row}


def _story() -> str:
    return (
        f"The teacher ({_RECIPE['teacher']['model']}) was trained on all 1,297 training digits; "
        f"the student ({_RECIPE['students']}) sees {_RECIPE['options']['train_images']} of them, "
        f"{_RECIPE['options']['epochs']} times."
    )
