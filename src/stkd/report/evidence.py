"""What a page shows of a model beyond its scores, from one pass over the test images; kept beside the run."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from ..core.files import write_atomic
from ..data import DataSet
from ..evaluation import (
    class_accuracy,
    class_similarity,
    confusion_matrix,
    fit_temperature,
    latency,
    logits_of,
    macs,
    parameters,
    reliability,
    scale_by_halves,
    scores,
    structure_correlation,
)
from ..evaluation.transfer import virtual_transfer
from ..models.files import find_weights
from ..runs.inspection import OpenRun, open_run
from .examples import Example, disagreements, virtual_examples

__all__ = ["Answers", "Evidence", "evidence_of"]

_FILE = "report.json"
_DIGITS = 5  # of the numbers that are kept
_CELLS = 100  # classes whose similarities are kept; the correlation is over all


@dataclass(frozen=True)
class Answers:
    """What one model says about the test images.

    Attributes:
        scores: As `stkd.evaluation.scores` names them, and "ece_scaled" after temperature scaling.
        temperature: That was fitted; two, where the halves of the test split had to serve each other.
        reliability, reliability_scaled: Confidence, accuracy and count of each bin, before and after scaling.
        similarity: (C, C), rows are true classes, of the first classes where there are many.
        class_accuracy: (C,); None for classes without images.
        cost: parameters, macs, latency_ms and bytes of the weights.
    """

    scores: dict[str, float]
    temperature: list[float]
    reliability: dict[str, list[float]]
    reliability_scaled: dict[str, list[float]]
    similarity: list[list[float | None]]
    class_accuracy: list[float | None]
    cost: dict[str, float]


@dataclass(frozen=True)
class Evidence:
    """What a page shows of a run.

    Attributes:
        classes: Names, position = label.
        images: Number of test images.
        scaled_on: Where the temperatures come from, in words.
        student, teacher: What they say; None without a teacher.
        correlation: Of the student's class similarities with the teacher's.
        disagreements, virtual: Examples.
        along: Teacher and student on virtual samples along lambda, as `virtual_transfer` says, and of each pair of
            classes the two probabilities of these alone; None without a teacher.
    """

    classes: list[str]
    images: int
    scaled_on: str
    student: Answers
    teacher: Answers | None
    correlation: float | None
    disagreements: list[Example]
    virtual: list[Example]
    along: dict[str, Any] | None


def evidence_of(run: Path, teacher: Path | None = None) -> Evidence | None:
    """Look at a finished run's model, or take what was found the last time if nothing changed since.

    Args:
        run: Run directory.
        teacher: Weights to compare with, for a run that had no teacher.

    Returns:
        None where there are no labelled test images, or the model cannot be built by name.

    Raises:
        StkdError: The data cannot be read.
    """
    key = _key(run, teacher)
    if (known := _read(run / _FILE, key)) is not None:
        return known
    opened = open_run(run, teacher=teacher)
    split = opened.data.test
    if split is None or (split.labels < 0).any():
        return None
    found = _look(opened)
    write_atomic(run / _FILE, json.dumps({"key": key, "evidence": dataclasses.asdict(found)}))
    return found


def _look(run: OpenRun) -> Evidence:
    data, split = run.data, run.data.test
    assert split is not None
    options: dict[str, Any] = {"device": run.device, "workers": run.config.workers}
    logits, labels = logits_of(run.model, split, data, **options)
    held = None
    taught = held_taught = None
    if data.val is not None and not (data.val.labels < 0).any():
        held = logits_of(run.model, data.val, data, **options)
    if run.teacher is not None:
        taught, _ = logits_of(run.teacher, split, data, **options)
        held_taught = logits_of(run.teacher, data.val, data, **options) if held and data.val else None
    student = _answers(logits, labels, held, taught, _cost(run.model, data))
    student.cost["bytes"] = find_weights(run.path).stat().st_size
    teacher = None
    if run.teacher is not None and taught is not None:
        teacher = _answers(taught, labels, held_taught, None, _cost(run.teacher, data))
    return Evidence(
        classes=list(data.classes),
        images=len(labels),
        scaled_on="validation images" if held else "halves of the test images, each for the other half",
        student=student,
        teacher=teacher,
        correlation=None if taught is None else _correlation(logits, taught, labels),
        disagreements=[] if taught is None else disagreements(logits, taught, split, data),
        virtual=[] if run.teacher is None else virtual_examples(run),
        along=None if taught is None else _along_lambda(run, taught, labels),
    )


def _along_lambda(run: OpenRun, taught: Tensor, labels: Tensor) -> dict[str, Any] | None:
    assert run.teacher is not None
    assert run.data.test is not None
    if labels.min() == labels.max():
        return None
    likeness = class_similarity(taught, labels)
    device, workers = run.device, run.config.workers
    found = virtual_transfer(run.model, run.teacher, run.data.test, run.data, likeness, device=device, workers=workers)
    for pair in found["pairs"]:
        for who in ("teacher", "student"):
            pair[who] = [[_round(v) for v in row] for row in pair[who][:, pair["classes"]].tolist()]
    return found


def _cost(model: nn.Module, data: DataSet) -> dict[str, float]:
    return {
        "parameters": parameters(model),
        "macs": macs(model, data.channels, data.size),
        "latency_ms": latency(model, data.channels, data.size, 1, runs=50),
    }


def _answers(
    logits: Tensor, labels: Tensor, held: tuple[Tensor, Tensor] | None, taught: Tensor | None, cost: dict[str, float]
) -> Answers:
    if held is not None:
        temperatures = [fit_temperature(*held)]
        scaled = logits / temperatures[0]
    else:
        scaled, both = scale_by_halves(logits, labels)
        temperatures = list(both)
    found = scores(logits, labels, taught)
    found["ece_scaled"] = scores(scaled, labels)["ece"]
    return Answers(
        scores=found,
        temperature=temperatures,
        reliability=_bins(logits, labels),
        reliability_scaled=_bins(scaled, labels),
        similarity=[[_round(v) for v in row[:_CELLS]] for row in class_similarity(logits, labels).tolist()[:_CELLS]],
        class_accuracy=[_round(v) for v in class_accuracy(confusion_matrix(logits, labels)).tolist()],
        cost=cost,
    )


def _correlation(logits: Tensor, taught: Tensor, labels: Tensor) -> float | None:
    found = structure_correlation(class_similarity(logits, labels), class_similarity(taught, labels))
    return found["pearson"]


def _bins(logits: Tensor, labels: Tensor) -> dict[str, list[float]]:
    bins = reliability(logits, labels)
    return {name: [getattr(b, name) for b in bins] for name in ("confidence", "accuracy", "count")}


def _round(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None


def _key(run: Path, teacher: Path | None) -> dict[str, Any]:
    """What the evidence depends on, as far as files tell."""
    from .. import __version__

    weights = find_weights(run).stat()
    return {"stkd": __version__, "bytes": weights.st_size, "time": weights.st_mtime_ns, "teacher": str(teacher)}


def _read(file: Path, key: dict[str, Any]) -> Evidence | None:
    try:
        kept = json.loads(file.read_text())
        if kept["key"] != key:
            return None
        plain = kept["evidence"]
        for who in ("student", "teacher"):
            plain[who] = plain[who] and Answers(**plain[who])
        for what in ("disagreements", "virtual"):
            plain[what] = [Example(**example) for example in plain[what]]
        return Evidence(**plain)
    except (OSError, ValueError, TypeError, KeyError):
        return None  # of another version, or damaged: look again
