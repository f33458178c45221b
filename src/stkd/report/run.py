"""The page of a single run."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..core.config import DistillConfig, TrainConfig
from ..core.errors import StkdError
from ..core.files import write_atomic
from ..models.files import find_weights, read_info
from ..runs.description import command_of, story_of_run
from ..runs.directory import read_result
from ..runs.evaluation import kept_evaluation
from ..runs.inspection import read_config
from . import sections, stress
from .evidence import Answers, Evidence, evidence_of
from .looks import Look, looks
from .page import Section, page
from .parts import Cell, code, details, facts, figure, grid, paragraph, table
from .plots import Rows, curves

__all__ = ["environment_facts", "read_metrics", "write_run"]


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
    evidence, why = _evidence(path)
    metrics = read_metrics(path)
    name = "student" if isinstance(config, DistillConfig) else "model"
    known = looks([name, "train", "alone"])
    teacher = _teacher_name(config)
    shown = [
        Section("scores", "Scores", _scores(config, result, evidence, name, teacher)),
        Section("curves", "Curves", _curves(metrics, evidence, name)),
        *_of_evidence(evidence, name, known),
        *_of_evaluation(path, name, known),
        Section("again", "Again", _again(config, path)),
    ]
    lead = paragraph(story_of_run(config, result, teacher)) + (paragraph(why, soft=True) if why else "")
    target = path / "report.html"
    write_atomic(target, page(f"{_model(config)} on {config.data.partition(':')[0]}: {config.method}", lead, shown))
    return target


def _evidence(path: Path) -> tuple[Evidence | None, str]:
    """What was found, or why nothing was."""
    try:
        found = evidence_of(path)
    except StkdError as error:
        warnings.warn(f"the page shows no predictions: {error}", stacklevel=2)
        return None, f"This page shows no predictions: {error}."
    return found, "" if found else "This page shows no predictions: the data set has no labelled test images."


def _of_evidence(evidence: Evidence | None, name: str, known: dict[str, Look]) -> list[Section]:
    if evidence is None:
        return []
    found = {name: evidence}
    changes: list[str] = []
    if evidence.teacher is not None:
        changes = sections.changes(evidence.classes, evidence.student, evidence.teacher, "student", "teacher")
    return [
        Section("reliability", "Reliability", sections.calibration(found, known)),
        Section("similarity", "Similarity of classes", sections.similarity(found)),
        Section("classes", "Class by class", changes),
        Section("disagreement", "Where they disagree", sections.disagreement(evidence, name)),
        Section("virtual", "Virtual samples", sections.virtual(evidence, name)),
        Section("lambda", "Along lambda", stress.along_lambda(found, known, name)),
    ]


def _of_evaluation(path: Path, name: str, known: dict[str, Look]) -> list[Section]:
    evaluation = kept_evaluation(path)
    kept = {} if evaluation is None else {name: evaluation}
    return [
        Section("robustness", "Corrupted images", stress.robustness(kept, known)),
        Section("foreign", "Foreign images", stress.foreign(kept, known)),
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
    config: TrainConfig | DistillConfig,
    result: dict[str, Any],
    evidence: Evidence | None,
    name: str,
    teacher: str,
) -> list[str]:
    if evidence is None:
        kept = {
            f"{split} {score}": f"{value:.4f}"
            for split in ("val", "test")
            for score, value in result.get(split, {}).items()
        }
        return [facts("Scores after the last epoch.", kept)] if kept else []
    rows = [_row(f"{name}, {_model(config)}", evidence.student, result.get("ema", {}).get("test"))]
    if evidence.teacher is not None:
        rows.append(_row(f"teacher, {teacher}", evidence.teacher, None))
    header = ["", "top-1 (%)", "top-5 (%)", "NLL", "ECE", "ECE, scaled", "agreement (%)", "EMA top-1 (%)"]
    header += ["parameters", "MACs", "latency (ms)"]
    used = [j for j in range(len(header)) if any(row[j].text for row in rows)]
    caption = (
        f"The weights of the last epoch on {evidence.images:,} test images; agreement is with the teacher, latency is "
        "of one image, median, in float32, on the machine that made this page."
    )
    return [table(caption, [header[j] for j in used], [[row[j] for j in used] for row in rows])]


def _row(name: str, answers: Answers, ema: dict[str, float] | None) -> list[Cell]:
    def share(value: float | None) -> Cell:
        return Cell("" if value is None else f"{100 * value:.2f}", value)

    def number(value: float | None, form: str) -> Cell:
        return Cell("" if value is None else format(value, form), value)

    s, c = answers.scores, answers.cost
    return [
        Cell(name),
        share(s["top1"]),
        share(s["top5"]),
        number(s["nll"], ".3f"),
        number(s["ece"], ".3f"),
        number(s["ece_scaled"], ".3f"),
        share(s.get("agreement")),
        share(ema["top1"] if ema else None),
        number(c["parameters"], ",.0f"),
        number(c["macs"], ",.0f"),
        number(c["latency_ms"], ".2f"),
    ]


def _curves(metrics: Rows, evidence: Evidence | None, name: str) -> list[str]:
    top = evidence.teacher.scores["top1"] if evidence is not None and evidence.teacher is not None else None
    accuracies = _series(metrics, {"train_accuracy": "train", "val_top1": "validation", "test_top1": "test"})
    losses = _series(metrics, {k: k.removeprefix("train_") for k in metrics[-1] if _is_loss(k)})
    if losses.keys() == {"loss", "ce"}:
        del losses["ce"]  # they are the same
    plots = [
        figure(
            curves(accuracies, "value", "accuracy", looks(accuracies), top),
            "Accuracy by epoch. On virtual samples, train accuracy counts the class with the largest weight.",
        ),
        figure(curves(losses, "value", "loss", looks(losses)), "Losses of training by epoch: the sum and its terms."),
    ]
    return [grid(*plots)]


def _is_loss(name: str) -> bool:
    return name.startswith("train_") and name != "train_accuracy"


def _series(metrics: Rows, names: dict[str, str]) -> dict[str, list[Rows]]:
    """Columns of the metrics as runs of their own, for `curves`."""
    return {
        label: [[{"epoch": r["epoch"], "value": r[column]} for r in metrics if column in r]]
        for column, label in names.items()
        if any(column in r for r in metrics)
    }


def _again(config: TrainConfig | DistillConfig, path: Path) -> list[str]:
    text = (path / "config.yaml").read_text(encoding="utf-8")
    return [
        paragraph("The command that repeats this run; it gives the same weights on the same machine."),
        code(command_of(config, yaml.safe_load(text))),
        details("All options (config.yaml)", code(text)),
        details("Where it ran (env.json)", facts("Versions and hardware.", environment_facts(path))),
    ]


def environment_facts(path: Path) -> dict[str, str]:
    """What env.json of a run says, one fact a line."""
    try:
        kept: dict[str, Any] = json.loads((path / "env.json").read_text())
    except (OSError, ValueError):
        return {}
    versions = kept.pop("versions", {})
    return {k: str(v) for k, v in {**kept, **versions}.items() if v is not None}


def read_metrics(run: Path) -> Rows:
    """Rows of metrics.jsonl.

    Raises:
        StkdError: It is missing or damaged.
    """
    try:
        rows: Sequence[dict[str, Any]] = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    except (OSError, ValueError):
        raise StkdError(f"{run / 'metrics.jsonl'} is missing or damaged; run the run's command again") from None
    return rows
