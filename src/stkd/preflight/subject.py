"""What a preflight looks at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.config import DistillConfig, RunConfig
from ..core.registry import Registry
from ..data import DataSet, Split
from ..data.loader import TrainLoader
from ..mixing import Mix
from ..teachers import Teacher
from .answers import Answers, answers_of
from .finding import Finding
from .image_records import ImageRecords, records_of
from .orders import Order, better_order

__all__ = ["Check", "Subject", "checks"]


@dataclass
class Subject:
    """What a training is about to use. What is costly to find out is found out when a check first asks for it.

    Attributes:
        config: The options; of several students those of the first.
        data: The data set.
        mix: How virtual samples are made.
        loader: The batches.
        device: Where the teacher is.
        teacher: The teacher, if there is one.
        students: The models that are to be trained; empty where only data and teacher are looked at.
        seconds: Time for the teacher's answers, and again for a pass over the files.
        full: Pass over all files, however long that takes.
        processes: That share a batch.
        facts: What was looked at, for the report.
    """

    config: RunConfig
    data: DataSet
    mix: Mix
    loader: TrainLoader
    device: torch.device
    teacher: Teacher | None = None
    students: Sequence[nn.Module] = ()
    seconds: float = 30.0
    full: bool = False
    processes: int = 1
    facts: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def answers(self) -> Answers | None:
        """The teacher's answers to labelled images; None without a teacher or without labels."""
        return None if self.teacher is None else answers_of(self, ("train", "val", "test"))

    @cached_property
    def held_out(self) -> Answers | None:
        """The teacher's answers to images that are not trained on; None without a teacher that runs."""
        return None if self.teacher is None else answers_of(self, ("val", "test"))

    @cached_property
    def better_order(self) -> Order | None:
        """An order of the teacher's outputs that is better than the given one, if there is one.

        None where another normalisation does as well: images that are too dark are taken for other classes, too.
        """
        if self.answers is None:
            return None
        order = better_order(self.answers, len(self.data.classes))
        best = max((self.answers.right_with(name) for name in self.answers.others), default=0.0)
        return order if order is not None and order.right > best else None

    @cached_property
    def images(self) -> ImageRecords:
        """What every image looks like, as far as time allows."""
        return records_of(self)

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that there are, by name."""
        named = {"train": self.data.train, "val": self.data.val, "test": self.data.test}
        return {name: split for name, split in named.items() if split is not None}

    @property
    def baseline(self) -> Path | None:
        """A finished run of the student alone, if one was given."""
        return self.config.baseline if isinstance(self.config, DistillConfig) else None


Check = Callable[[Subject], Iterator[Finding]]
"""Looks at one thing and yields what it finds."""

checks: Registry[Check] = Registry("check", "stkd.preflight.checks")
