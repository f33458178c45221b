"""How a model that starts from trained weights is trained, and the probe of its features that it must not end below."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from typing import Any

from torch import nn

from ...core.config import DistillConfig, TrainConfig
from ...core.errors import StkdError
from ...evaluation import score
from ...models.files import ModelInfo
from ...runs.description import percent
from ...runs.probe import is_probe, probe_command
from ...teachers import LiveTeacher
from ...teachers.probed import probe_of, put_head
from ..finding import Finding
from ..subject import Subject, checks

_log = logging.getLogger(__name__)


@checks.register("fine_tuning", "a model that starts from trained weights, and the probe that it has to beat")
def fine_tuning(subject: Subject) -> Iterator[Finding]:
    """Say how it is trained; for a model that is trained alone also how good a probe of its features is."""
    config = subject.config
    if isinstance(config, DistillConfig):
        starts = config.student if config.student_pretrained or config.student_weights else ""
        hint = ""
    elif isinstance(config, TrainConfig):
        starts = config.model if config.pretrained or config.weights else ""
        hint = _hint(config, _baseline(subject, config)) if starts else ""
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


def _baseline(subject: Subject, config: TrainConfig) -> dict[str, Any] | None:
    """How often a probe of its features is right on images that are not trained on, of validation where there are any.

    Returns:
        split, images and top1; None where no probe can be fitted.
    """
    split = next((name for name in ("val", "test") if name in subject.splits), None)
    if split is None or not subject.students:
        return None
    try:
        model = _as_probe(subject, config)
    except StkdError:  # no linear classifier, or a class without images: no probe, and no reason not to train
        return None
    images = subject.splits[split]
    found = score(model, images, subject.data, device=subject.device, workers=config.workers)
    baseline = {"split": split, "images": len(images), "top1": found["top1"]}
    subject.facts["probe"] = baseline
    return baseline


def _as_probe(subject: Subject, config: TrainConfig) -> nn.Module:
    """The model as it begins, with a head that is fitted on its features; what began as a probe has one.

    Raises:
        StkdError: It has no features before a linear classifier, or a class has no images.
    """
    student, data = subject.students[0], subject.data
    if config.weights is not None and is_probe(config.weights):
        return student
    info = ModelInfo(
        config.model, data.classes, data.channels, data.size, data.mean, data.std, interpolation=data.interpolation
    )
    probed = LiveTeacher(copy.deepcopy(student), info, data, subject.device)
    _log.info("fitting a head on the features of %s as they are (--preflight off leaves it out)", config.model)
    put_head(probed, probe_of(probed, data, workers=config.workers), data)
    return probed.module


def _hint(config: TrainConfig, baseline: dict[str, Any] | None) -> str:
    """Which accuracy it must not end below."""
    right = None
    if baseline is not None:
        words = {"val": "validation", "test": "test"}[baseline["split"]]
        right = f"right on {percent(baseline['top1'], 1)} of {baseline['images']:,} {words} images"
    if config.weights is not None and is_probe(config.weights):
        return f"; it begins as the probe {config.weights}, {right or 'which stkd evaluate scores'}: end no lower"
    if right is None:
        return ""
    return (
        f"; a head fitted on its features as they are is {right}: end no lower than such a probe, and better begin "
        f"with one ({probe_command(config)}, then --weights DIR)"
    )
