"""Which order of a teacher's outputs suits labelled images best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import binomtest

from .answers import Answers

__all__ = ["LEVEL", "Order", "better_order", "mcnemar"]

LEVEL = 1e-3
"""P-value from which on a difference is taken as real; at most one false alarm in a thousand sound teachers."""


@dataclass(frozen=True)
class Order:
    """An order of outputs that is significantly better than the given one.

    Attributes:
        outputs: int64 (C,), for each class the position of the output that belongs to it.
        right, given: Share of right answers with that order and with the given one, on images that the order was not
            found by.
        images: Number of these images.
    """

    outputs: NDArray[np.int64]
    right: float
    given: float
    images: int


_KNOWS = 0.25
"""Share of the way from chance to all right that an order must reach: the outputs of an untrained network go with
classes a little, too, and no order makes a teacher of it."""


def better_order(answers: Answers, classes: int) -> Order | None:
    """The best order on one half of the images, if it is significantly better on the other half (McNemar's test).

    Args:
        answers: Of the teacher.
        classes: C.
    """
    labels, given = answers.labels, answers.given
    half = np.arange(len(labels)) // classes % 2 == 0 if len(labels) >= 2 * classes else np.arange(len(labels)) % 2 == 0
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels[half], given[half]), 1)
    # where two orders are equally good, the given one stays
    outputs = linear_sum_assignment(2 * classes * counts + np.eye(classes), maximize=True)[1]
    if (outputs == np.arange(classes)).all():
        return None
    wanted, got = outputs[labels[~half]], given[~half]
    order = Order(outputs, float((wanted == got).mean()), float((labels[~half] == got).mean()), len(got))
    significant = mcnemar(wanted == got, labels[~half] == got) < LEVEL
    return order if significant and order.right >= 1 / classes + _KNOWS * (1 - 1 / classes) else None


def mcnemar(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    """One-sided exact p-value that the first is right more often on the same images (McNemar, Psychometrika, 1947)."""
    wins, losses = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    return float(binomtest(wins, wins + losses, alternative="greater").pvalue) if wins + losses else 1.0
