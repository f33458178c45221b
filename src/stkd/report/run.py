"""The page of a single run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.config import DistillConfig, TrainConfig
from ..core.errors import StkdError
from ..core.files import write_atomic
from ..core.plain_yaml import parse_yaml
from ..models.files import find_weights, read_info
from ..runs.description import command_of, describe_data, describe_run
from ..runs.directory import read_environment, read_metrics, read_preflight, read_result
from ..runs.evaluation import current_evaluation
from ..runs.exports import read_exports
from ..runs.options import read_config
from . import predictions, robustness
from .exports import exports
from .page import Figure, Section, render
from .plots.curves import Rows, curves
from .predictions import Evaluation, Values
from .preflight import preflight
from .styles import styles
from .tables import Cell, Table, interval, number, percent

__all__ = ["write_run"]

log = logging.getLogger(__name__)


def write_run(path: Path) -> Path:
    """Write the page of a finished run, `report.html` in its directory.

    Args:
        path: Run directory.

    Returns:
        The page.

    Raises:
        StkdError: It is no run directory, or the run is not finished.
    """
    config = read_config(path)
    result = read_result(path)
    if result is None:
        raise StkdError(f"{path} is not finished; run its command again to go on, then make the report")
    notes: list[str] = []
    try:
        evaluation = current_evaluation(path)
    except StkdError as error:
        log.warning("the page shows no predictions: %s", error)
        evaluation = {}
        notes.append(f"This page shows no predictions: {error}.")
    name = "student" if isinstance(config, DistillConfig) else "model"
    teacher = result.get("teacher") or _teacher_name(config)
    sections: list[tuple[str, str, Values | None]] = [
        ("scores", "Scores", _scores(config, result, evaluation, name, teacher)),
        ("curves", "Curves", _curves(read_metrics(path), evaluation, result["mix"])),
        *(_of_evaluation(evaluation, name) if evaluation else []),
        ("exports", "Exported", exports(read_exports(path))),
        ("preflight", "Checked before", preflight(read_preflight(path))),
        ("again", "Again", _again(config, path)),
    ]
    title = f"{_model(config)} on {describe_data(config.data)}: {config.method}"
    page = render(
        title, [describe_run(config, result, teacher)], [Section(n, h, {0: v}) for n, h, v in sections], notes
    )
    target = path / "report.html"
    write_atomic(target, page)
    return target


def _of_evaluation(evaluation: Evaluation, name: str) -> list[tuple[str, str, Values | None]]:
    students, known = {name: evaluation}, styles([name, "train", "alone"])
    teacher = evaluation.get("teacher")
    return [
        ("reliability", "Reliability", predictions.calibration(students, known)),
        ("similarity", "Similarity of classes", predictions.similarity(students)),
        (
            "classes",
            "Class by class",
            predictions.classes(evaluation, name, [("student", evaluation)] if teacher else [], teacher, "teacher"),
        ),
        ("disagreement", "Where they disagree", predictions.disagreement(evaluation, name)),
        ("virtual", "Virtual samples", predictions.virtual(evaluation, name)),
        ("lambda", "Along lambda", predictions.transfer(students, known, name)),
        ("robustness", "Corrupted images", robustness.robustness(students, known)),
        ("foreign", "Foreign images", robustness.foreign(students, known)),
    ]


def _model(config: TrainConfig | DistillConfig) -> str:
    return config.student if isinstance(config, DistillConfig) else config.model


def _teacher_name(config: TrainConfig | DistillConfig) -> str:
    if not isinstance(config, DistillConfig):
        return ""
    weights = [path for path in (config.teacher_weights, *(config.more_teachers or ())) if path and path.exists()]
    infos = [read_info(find_weights(path)) for path in weights]
    return " and ".join(info.model for info in infos if info is not None) or config.teacher or ""


def _scores(
    config: TrainConfig | DistillConfig, result: Mapping[str, Any], evaluation: Evaluation, name: str, teacher: str
) -> Values | None:
    if not evaluation:
        scores = {
            f"{split} {score}": f"{value:.4f}"
            for split in ("val", "test")
            for score, value in result.get(split, {}).items()
        }
        return {"table": None, "scores": scores} if scores else None
    rows = [_row(f"{name}, {_model(config)}", evaluation, result.get("ema", {}).get("test"))]
    if "teacher" in evaluation:
        rows.append(_row(f"teacher, {teacher}", evaluation["teacher"], None))
    header = [
        "",
        "top-1 (%)",
        "95 % interval",
        "top-5 (%)",
        "NLL",
        "ECE",
        "ECE, scaled",
        "agreement (%)",
        "EMA top-1 (%)",
    ]
    header += ["parameters", "MACs", "latency (ms)"]
    caption = (
        f"The weights of the last epoch on {evaluation['images']:,} test images; intervals are Wilson's at 95 %, "
        f"{'agreement is with the teacher, ' if 'teacher' in evaluation else ''}latency is of one image, median, in "
        "float32, on the machine that evaluated them."
    )
    return {"table": Table(caption, header, rows).without_columns().turned()}


def _row(name: str, measured: Mapping[str, Any], ema: Mapping[str, float] | None) -> list[Cell]:
    return [
        Cell(name),
        percent(measured["top1"]),
        interval(measured["top1_interval"]),
        percent(measured["top5"]),
        number(measured["nll"], ".3f"),
        number(measured["ece"], ".3f"),
        number(measured["calibration"]["scaled_ece"], ".3f"),
        percent(measured.get("agreement")),
        percent(ema["top1"] if ema else None),
        number(measured.get("params"), ",.0f"),
        number(measured.get("macs"), ",.0f"),
        number(measured["latency_ms_1"], ".2f"),
    ]


def _curves(metrics: Rows, evaluation: Evaluation, mix: Mapping[str, Any]) -> Values:
    mixed = mix["kind"] != "none" and mix["instances"] > 1
    counted = " On virtual samples, train accuracy counts the class with the largest weight." if mixed else ""
    teacher = evaluation.get("teacher", {}).get("top1")
    accuracies = _series(metrics, {"train_accuracy": "train", "val_top1": "validation", "test_top1": "test"})
    losses = _series(metrics, {k: k.removeprefix("train_") for k in metrics[-1] if _is_loss(k)})
    if losses.keys() == {"loss", "ce"}:
        del losses["ce"]  # they are the same
    figures = [
        Figure(
            curves(accuracies, "value", "accuracy", styles(accuracies), teacher),
            f"Accuracy by epoch.{counted}",
        ),
        Figure(curves(losses, "value", "loss", styles(losses)), "Losses of training by epoch: the sum and its terms."),
    ]
    return {"figures": figures, "methods_differ": False}


def _is_loss(name: str) -> bool:
    return name.startswith("train_") and name != "train_accuracy"


def _series(metrics: Rows, names: Mapping[str, str]) -> dict[str, list[Rows]]:
    """Columns of the metrics as runs of their own, for `curves`."""
    return {
        label: [[{"epoch": r["epoch"], "value": r[column]} for r in metrics if column in r]]
        for column, label in names.items()
        if any(column in r for r in metrics)
    }


def _again(config: TrainConfig | DistillConfig, path: Path) -> Values:
    options = (path / "config.yaml").read_text(encoding="utf-8")
    return {
        "text": "The command that repeats this run; it gives the same weights on the same machine.",
        "command": command_of(config, parse_yaml(options)),
        "files": {"All options (config.yaml)": options},
        "where": "Where it ran (env.json)",
        "environment": _environment(path),
        "runs_have_more": False,
    }


def _environment(path: Path) -> dict[str, str]:
    """What env.json of a run says, one fact a line."""
    try:
        environment = read_environment(path) or {}
    except StkdError as error:
        log.warning("the page does not say where the run was made: %s", error)
        return {}
    versions = environment.pop("versions", {})
    return {k: str(v) for k, v in {**environment, **versions}.items() if v is not None}
