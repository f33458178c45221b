"""A student that has learnt next to nothing from a teacher that is right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..data.base import UNLABELLED
from ..data.loader import TrainLoader
from ..runs.description import percent
from .student import Student

__all__ = ["at_chance"]

_LITTLE = 0.1
"""Share of what the teacher is better than chance, below which a student has learnt next to nothing."""

_RIGHT = 0.5
"""The same of the teacher and of all answers, above which a teacher is right."""

_IMAGES = 1024
"""Training images that the teacher is asked about, at least."""


def at_chance(student: Student, loader: TrainLoader, row: Mapping[str, Any]) -> str | None:
    """A line for a student that ends at about chance though its teacher's answers are right.

    The teacher is asked only where the student is so bad that it may be.

    Args:
        student: What was trained.
        loader: The batches that it was trained on.
        row: Metrics of the last epoch.

    Returns:
        What is wrong and what to look at; None where nothing is.
    """
    split = next((name for name in ("test", "val") if f"{name}_top1" in row), None)
    top1 = row["train_accuracy"] if split is None else row[f"{split}_top1"]
    known = loader.labels[loader.labels != UNLABELLED]
    if student.teacher is None or not len(known):
        return None
    chance = int(known.bincount().max()) / len(known)
    if top1 - chance >= _LITTLE * (1 - chance):
        return None
    taught = _accuracy(student, loader)
    if taught - chance < _RIGHT * (1 - chance) or top1 - chance >= _LITTLE * (taught - chance):
        return None
    where = "training" if split is None else {"test": "test", "val": "validation"}[split]
    look = "at train_loss in metrics.jsonl, at --lr, and whether the student ends in logits, without a softmax"
    if split is not None and row["train_accuracy"] - chance >= _RIGHT * (1 - chance):
        look = f"whether the {where} images are of the same kind and their labels in the same order"
    return (
        f"the student is right on {percent(top1, 1)} of the {where} images, which is about chance "
        f"({percent(chance, 1)}), though the teacher is right on {percent(taught, 1)} of the samples that it learnt "
        f"from; look {look}"
    )


@torch.no_grad()
def _accuracy(student: Student, loader: TrainLoader) -> float:
    """Share of training samples whose likeliest class the teacher names."""
    assert student.teacher is not None
    hits = seen = 0
    for batch in loader.whole().epoch(0):
        with student.fabric.autocast():
            answers = student.teacher(batch).argmax(1)
        labelled = batch.targets.sum(1) > 0
        hits += int(((answers == batch.targets.argmax(1)) & labelled).sum())
        seen += int(labelled.sum())
        if seen >= _IMAGES:
            break
    return hits / max(1, seen)
