"""What is said of a training where nobody watches a progress bar: a line an epoch."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ..runs.description import duration, percent
from .learner import Learner

__all__ = ["EpochLog"]

_log = logging.getLogger(__name__)


class EpochLog:
    """A line an epoch, of all students that train together.

    Args:
        title: Shown in front.
        epochs: Of the run.
        done: Epochs that were made before.
    """

    def __init__(self, title: str, epochs: int, done: int) -> None:
        self.title, self.epochs, self._first = title, epochs, done
        self._began = self._last = time.monotonic()

    def say(self, learners: Sequence[Learner]) -> None:
        """Say how students did in the epoch that they have ended, and how long the rest will take.

        Args:
            learners: One or more that have ended the same epoch.
        """
        if not learners:
            return
        now, epoch = time.monotonic(), learners[0].state.epoch
        left = (now - self._began) / (epoch - self._first) * (self.epochs - epoch)
        rest = f", {duration(left)} left" if epoch < self.epochs else ""
        names = [f"{learner.config.out.name} " if len(learners) > 1 else "" for learner in learners]
        facts = [name + _facts(learner.state.rows[-1]) for name, learner in zip(names, learners, strict=True)]
        spent = duration(now - self._last)
        _log.info("%s, epoch %d/%d: %s; %s%s", self.title, epoch, self.epochs, "; ".join(facts), spent, rest)
        self._last = now


def _facts(row: Mapping[str, Any]) -> str:
    shares = [
        f"{name} {percent(row[key], 1)}"
        for name, key in (("train", "train_accuracy"), ("val", "val_top1"), ("test", "test_top1"))
        if key in row
    ]
    return ", ".join([f"loss {row['train_loss']:.3f}", *shares])
