"""How a model that starts from trained weights is trained, and what it must not end below."""

from __future__ import annotations

from collections.abc import Iterator

from ...core.config import DistillConfig, TrainConfig
from ...runs.probe import is_probe
from ..finding import Finding
from ..subject import Subject, checks


@checks.register("fine_tuning", "a model that starts from trained weights, and the probe that it has to beat")
def fine_tuning(subject: Subject) -> Iterator[Finding]:
    """Say how it is trained; for a model that is trained alone also which probe is its baseline."""
    config = subject.config
    if isinstance(config, DistillConfig):
        starts = config.student if config.student_pretrained or config.student_weights else ""
        hint = ""
    elif isinstance(config, TrainConfig):
        starts = config.model if config.pretrained or config.weights else ""
        hint = _hint(config)
    else:
        return
    if not starts:
        return
    rate = "its usual learning rate" if config.lr is None else f"{config.lr:g}"
    name = "AdamW" if config.optimizer == "adamw" else "SGD"
    yield Finding(
        "note",
        f"{starts} starts from trained weights: {name} at {rate}, weight decay {config.weight_decay:g}, warm-up of "
        f"{config.warmup_epochs:g} epochs{hint}",
    )


def _hint(config: TrainConfig) -> str:
    """Which accuracy it must not end below."""
    if config.weights is not None and is_probe(config.weights):
        return f"; it begins as the probe {config.weights}, which 'stkd evaluate' scores: end no lower than that"
    weights = "--teacher-pretrained true" if config.pretrained else f"--teacher-weights {config.weights}"
    return (
        f"; 'stkd probe --data {config.data} --teacher {config.model} {weights} --out DIR' fits a head on its features "
        "as they are, in minutes: end no lower than that, and better begin there (--weights DIR)"
    )
