"""Milliseconds of each part of a training step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from ...data import loader as loading
from ...data.loader import Batch, TrainLoader
from ...training.step import Step
from .clock import Clock

__all__ = ["endless", "milliseconds_by_part", "shares"]

_ORDER = ("data", "augment", "mix", "teacher", "student_forward", "backward", "optimizer", "rest")


def endless(loader: TrainLoader) -> Iterator[Batch]:
    """Batches of one epoch after the other."""
    epoch = 0
    while True:
        yield from loader.epoch(epoch)
        epoch += 1


def milliseconds_by_part(step: Step, loader: TrainLoader, steps: int) -> dict[str, float]:
    """Milliseconds of a step in each part; waiting between the parts makes their sum a little longer than a step.

    Args:
        step: The training step.
        loader: Makes its batches.
        steps: How many steps to time, about.
    """
    clock, batches = Clock(loader.device), endless(loader)
    together = min(loader.at_once, loader.steps)
    steps = math.ceil(steps / together) * together  # so that no batch is made that no step uses
    places = [
        (loading, "shifted", "augment"),
        (loading, "resized_crop", "augment"),
        (loading, "apply_operations", "augment"),
        (loading, "blend", "mix"),
        (loading, "mix_images", "mix"),
        (loading, "mix_labels", "mix"),
        (step, "teach", "teacher"),
        (step, "model", "student_forward"),
        (step.state.fabric, "backward", "backward"),
        (step.optimizer, "step", "optimizer"),
    ]
    draw, whole = clock.wrap("data", lambda: next(batches)), clock.wrap("rest", step)
    with clock.on(*places):
        for _ in range(steps):
            whole(draw())
    return {part: round(1000 * clock.seconds[part] / steps, 3) for part in _ORDER}


def shares(parts: Mapping[str, float]) -> dict[str, float]:
    """The share of a step that each part takes; making a batch counts as one part, its data.

    Args:
        parts: Milliseconds, as `milliseconds_by_part` gives them.
    """
    whole = sum(parts.values())
    of_data = sum(parts[part] for part in ("data", "augment", "mix"))
    named = {"data": of_data, **{part: parts[part] for part in _ORDER[3:]}}
    return {part: round(ms / whole, 4) for part, ms in named.items()}
