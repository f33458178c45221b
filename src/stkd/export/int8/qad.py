"""Quantisation-aware distillation: a run's model is trained with the roundings of its int8 file.

The teacher is the run's own, else the model in float; the virtual samples are the run's. It is a training like every
other, in a run directory of its own: it can be stopped and goes on.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import fx

from ...core.config import DistillConfig, RunConfig
from ...core.files import digest_file
from ...models import weights
from ...models.files import find_weights
from ...runs.directory import finished_result
from ...runs.exports import exports_folder
from ...runs.finished_run import FinishedRun
from .fake_quant import FakeQuantised
from .graph import Ranges

__all__ = ["Tuned", "tuned"]

_LR_SHARE = 0.1  # of the run's own


@dataclass(frozen=True)
class Tuned:
    """What came of the training.

    Attributes:
        model: From images in 0..1 to logits, in float and without roundings.
        ranges: Of the activations, as they were in training.
        record: "epochs", "teacher" (in words), "lr" and "run" (the run directory's name).
    """

    model: fx.GraphModule
    ranges: Ranges
    record: dict[str, Any]


def tuned(opened: FinishedRun, student: FakeQuantised, epochs: int) -> Tuned:
    """Train a model with the roundings of its file.

    Args:
        opened: The run; its directory gets the run directory of the training, `exports/qad-EPOCHS-DIGEST`.
        student: Its model with roundings; it is of no use afterwards.
        epochs: Passes over the training images.

    Raises:
        StkdError: The run's images or its teacher cannot be opened.
    """
    config = _config(opened, epochs)
    with _unsaid("stkd.training.student"):  # that the student is no model with a name
        from ...api import run_distill  # loads all that trains

        result = run_distill(config, data=opened.data, student=student)
    weights.load(student, find_weights(result.out))
    ranges = student.ranges()
    words = "the model in float" if config.teacher_weights == opened.path else "the run's teacher"
    record = {"epochs": epochs, "teacher": words, "lr": result.scores["lr"], "run": config.out.name}
    return Tuned(student.exact(), ranges, record)


@contextmanager
def _unsaid(logger: str) -> Iterator[None]:
    """Without the notes of a logger."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def _config(opened: FinishedRun, epochs: int) -> DistillConfig:
    """The run's own options, as far as they are not about how its weights began."""
    run, own = opened.path, opened.config
    assert own is not None
    result = finished_result(run)
    assert result is not None
    options = {field.name: getattr(own, field.name) for field in dataclasses.fields(RunConfig)}
    teacher: dict[str, Any] = {}
    if isinstance(own, DistillConfig) and (own.teacher_weights or own.teacher_pretrained):
        names = (field.name for field in dataclasses.fields(own))
        teacher = {n: getattr(own, n) for n in names if n.startswith("teacher_") or n in ("teacher", "more_teachers")}
    name = f"qad-{epochs}-{digest_file(find_weights(run))[:8]}"
    options |= {
        **(teacher or {"teacher_weights": run}),
        "teacher_cache": None,
        "student": "fake-quantised",
        "method": own.method if own.method.partition(":")[0] == "stkd" else "stkd",
        "out": exports_folder(run) / name,
        "epochs": epochs,
        "lr": _LR_SHARE * result["lr"],
        "warmup_epochs": 0.0,
        "freeze": 0,
        "layer_decay": None,
        "sample_epochs": None,
        "ema": None,
        "precision": "32",
        "compile": "none",
        "cuda_graph": False,
        "preflight": "off",
        "devices": 1,
        "strategy": "auto",
    }
    return DistillConfig(**options)
