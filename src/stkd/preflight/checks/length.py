"""Whether a run is long enough for what it does, and what it takes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator

import torch
from rich.filesize import decimal
from torch import Tensor

from ...core.config import DistillConfig
from ...runs.description import duration
from ...teachers import Ensemble, LiveTeacher
from ..finding import Finding, counted
from ..subject import Subject, checks

_EPOCHS = 50
"""Fewer passes through the images were worse on virtual samples than on real ones, or level (docs/results.md)."""


@checks.register("length", "a run that is too short for mixing, and what time and disk it takes")
def length(subject: Subject) -> Iterator[Finding]:
    """Count the passes, and estimate time and disk."""
    config = subject.config
    if not subject.students and subject.teacher is None:
        return
    if subject.mix.active and not subject.mix.beside and config.epochs < _EPOCHS:
        few = f"{counted(config.epochs, 'epoch')} {'is' if config.epochs == 1 else 'are'}"
        instead = "--method kd" if isinstance(config, DistillConfig) else "--method ce"
        yield Finding(
            "warning",
            f"{few} few for virtual samples: with fewer than {_EPOCHS} they were worse "
            "than real images or level, from 90 on better for students with room (docs/results.md); use more "
            f"--epochs, or {instead}",
        )
    if not subject.students:
        return
    seconds, size = _seconds(subject), _bytes(subject)
    subject.facts["estimate"] = {"seconds": round(seconds), "bytes": size}
    about = "about " if seconds >= 1 else ""
    yield Finding("note", f"this takes {about}{duration(seconds)} and {decimal(size)} of disk")
    place = next(path for path in (config.out, *config.out.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < size:
        yield Finding(
            "warning", f"{place} has {decimal(free)} free, the run takes about {decimal(size)}; free some space"
        )


def _seconds(subject: Subject) -> float:
    """From forward passes of teacher and students; a step backward costs as much as two forward."""
    mix, config, data = subject.mix, subject.config, subject.data
    rows = config.epochs * subject.loader.steps * mix.rows(min(config.batch_size, len(data.train)))
    images = torch.zeros(32, data.channels, data.size, data.size, device=subject.device)
    taught = subject.teacher.logits if isinstance(subject.teacher, LiveTeacher | Ensemble) else None
    seconds = 0.0 if taught is None else _forward(taught, images)
    for student in subject.students:
        mode = student.training
        seconds += 3 * _forward(student.eval(), images)
        student.train(mode)
    return rows * seconds / len(images)


@torch.no_grad()
def _forward(model: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """Seconds of the fastest of four passes; other work on the machine only makes one longer."""
    passes = []
    for _ in range(4):
        began = time.perf_counter()
        float(model(images).float().sum())  # waits for the device
        passes.append(time.perf_counter() - began)
    return min(passes)


def _bytes(subject: Subject) -> int:
    """Of two checkpoints with momentum, the weights, and the average if there is one."""
    copies = 2 * (3 if subject.config.optimizer == "adamw" else 2) + 2 + (3 if subject.config.ema is not None else 0)
    numbers: int = sum(t.numel() for student in subject.students for t in student.state_dict().values())
    return 4 * copies * numbers
