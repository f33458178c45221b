"""How many images each class has, in each split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...data import UNLABELLED
from ..finding import Finding, counted, quoted
from ..subject import Subject, checks

_EXTREME = 50
"""Ratio of the largest to the smallest class from which on accuracy says little about the small ones."""


@checks.register("balance", "classes without images, or with far fewer than others")
def balance(subject: Subject) -> Iterator[Finding]:
    """Count the images of each class."""
    classes = subject.data.classes
    counts = {
        name: np.bincount(split.labels[split.labels != UNLABELLED], minlength=len(classes))
        for name, split in subject.splits.items()
    }
    train = counts["train"]
    if train.any():
        if np.count_nonzero(train) < 2:
            (only,) = np.flatnonzero(train)
            yield Finding(
                "error",
                f"all training images are of the class {classes[only]!r}, so there is nothing to tell apart or to mix; "
                "add images of another class",
            )
        some = train[train > 0]
        if some.max() > _EXTREME * some.min():
            small, large = int(np.where(train > 0, train, train.max()).argmin()), int(train.argmax())
            yield Finding(
                "note",
                f"class {classes[large]!r} has {train[large]:,} training images, class {classes[small]!r} "
                f"{train[small]:,}; --class-weights balanced weights them in the cross-entropy",
            )
    for name, own in counts.items():
        present = [n for n, other in counts.items() if n != name and other.any()]
        for other in present:
            lacking = [classes[c] for c in np.flatnonzero((own == 0) & (counts[other] > 0))]
            if own.any() and lacking:
                yield Finding(
                    "warning",
                    f"{counted(len(lacking), 'class', 'classes')} of {other} without {name} images "
                    f"({quoted(lacking)}); add some, or remove the classes from {other}",
                    lacking,
                )
