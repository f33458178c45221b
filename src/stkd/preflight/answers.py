"""The teacher's answers to a sample of labelled images, within a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..data import UNLABELLED, DataSet, Split
from ..data.channel_stats import IMAGENET_MEAN, IMAGENET_STD
from ..data.decoded_cache import cached
from ..data.digest import fingerprint
from ..data.loader import eval_batches
from ..data.splits import take
from ..teachers import Ensemble, LiveTeacher

if TYPE_CHECKING:
    from .subject import Subject

__all__ = ["NORMALISATIONS", "Answers", "answers_of"]

NORMALISATIONS: Mapping[str, tuple[Sequence[float], Sequence[float]]] = {
    "ImageNet's": (IMAGENET_MEAN, IMAGENET_STD),
    "0.5 and 0.5": ((0.5,) * 3, (0.5,) * 3),
    "none (images in 0..1)": ((0.0,) * 3, (1.0,) * 3),
    "CLIP's": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
}
"""Mean and standard deviation that published models are trained with, beside those of the data."""

_VERSION = 2  # raised when a sample or an answer would be another one than before
_BATCH = 64
_PER_CLASS, _LEAST, _MOST = 20, 1000, 20_000
_TRIED = 500  # images with each other normalisation


@dataclass(frozen=True)
class Answers:
    """What a teacher answered.

    Attributes:
        split: Where the images come from, in words.
        labels: int64 (N,), their classes.
        given: int64 (N,), the teacher's classes for them, as it will be used.
        others: Its classes (M,), M <= N, for the first images, each with another normalisation, by its name.
    """

    split: str
    labels: NDArray[np.int64]
    given: NDArray[np.int64]
    others: Mapping[str, NDArray[np.int64]]

    @property
    def right(self) -> float:
        """Share of right answers."""
        return float((self.labels == self.given).mean())

    def right_with(self, name: str) -> float:
        """Share of right answers with one of the other normalisations."""
        return float((self.labels[: len(self.others[name])] == self.others[name]).mean())


def answers_of(subject: Subject, splits: Sequence[str]) -> Answers | None:
    """Ask the teacher; what it answered before is remembered in the cache folder.

    A teacher that runs is asked for images as evaluation sees them; of a cache the answers to virtual samples of the
    training split are compared with the class of the largest weight.

    Args:
        subject: Whose teacher and data.
        splits: Names of splits; the first that is there and has labels is taken.

    Returns:
        The answers; None if there are no labelled images.
    """
    teacher, data = subject.teacher, subject.data
    assert teacher is not None
    if not isinstance(teacher, LiveTeacher | Ensemble):
        return _of_batches(subject) if "train" in splits else None
    there = [name for name in splits if name in subject.splits and (subject.splits[name].labels != UNLABELLED).any()]
    if not there:
        return None
    name, split = there[0], subject.splits[there[0]]
    others = _others(teacher, data)

    def build() -> dict[str, NDArray[np.int64]]:
        index = _sample(split.labels)
        labels, given = _ask(teacher.logits, split, index, data, subject.device, subject.seconds / 2)
        arrays = {"labels": labels, "given": given}
        for i, other in enumerate(others.values()):
            most = subject.seconds / 2 / len(others)
            arrays[str(i)] = _ask(other.logits, split, index[: min(_TRIED, len(given))], data, subject.device, most)[1]
        return arrays

    key = fingerprint(
        "answers", _VERSION, teacher.fingerprint(), data.fingerprint, data.mean, data.std, name, subject.seconds
    )
    stored = cached(key, ("labels", "given", *map(str, range(len(others)))), build)
    return Answers(
        {"train": "training", "val": "validation", "test": "test"}[name] + " images",
        stored["labels"],
        stored["given"],
        {other: stored[str(i)] for i, other in enumerate(others)},
    )


def _sample(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of labelled images, so ordered that each beginning has about as many of each class."""
    rng = np.random.default_rng(0)
    members = [rng.permutation(np.flatnonzero(labels == c)) for c in np.unique(labels[labels != UNLABELLED])]
    turn = np.concatenate([np.arange(len(m)) for m in members])
    order = np.concatenate(members)[np.argsort(turn, kind="stable")]
    return order[: min(_MOST, max(_LEAST, _PER_CLASS * len(members)))]


@torch.no_grad()
def _ask(
    logits: Callable[[Tensor], Tensor],
    split: Split,
    index: NDArray[np.int64],
    data: DataSet,
    device: torch.device,
    seconds: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels and answers for the images at `index`, as many as time allows."""
    began, labels, given = time.monotonic(), [], []
    for images, truth in _batches(split, index, data, device):
        given.append(logits(images).argmax(1).cpu())
        labels.append(truth.cpu())
        if time.monotonic() - began > seconds:
            break
    return torch.cat(labels).numpy(), torch.cat(given).numpy()


def _batches(
    split: Split, index: NDArray[np.int64], data: DataSet, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(index), _BATCH):
        yield from eval_batches(take(split, index[start : start + _BATCH]), data, batch_size=_BATCH, device=device)


def _others(teacher: LiveTeacher | Ensemble, data: DataSet) -> dict[str, LiveTeacher]:
    """The teacher with other normalisations than its own."""
    if not isinstance(teacher, LiveTeacher) or teacher.info.channels != 3:
        return {}
    info = teacher.info
    known = {"the data's": (data.mean, data.std), **NORMALISATIONS}
    others = {}
    for name, (mean, std) in known.items():
        if len(mean) == 3 and not np.allclose([*mean, *std], [*info.mean, *info.std], atol=0.01):
            others[name] = teacher.with_pixels(mean, std)
    return others


@torch.no_grad()
def _of_batches(subject: Subject) -> Answers | None:
    """Answers of a cache to the virtual samples of its first epoch."""
    assert subject.teacher is not None
    if (subject.data.train.labels == UNLABELLED).any():
        return None
    began, labels, given = time.monotonic(), [], []
    for batch in subject.loader.epoch(0):
        given.append(subject.teacher(batch).argmax(1).cpu())
        labels.append(batch.targets.argmax(1).cpu())
        if sum(map(len, given)) >= _LEAST or time.monotonic() - began > subject.seconds:
            break
    return Answers("training samples", torch.cat(labels).numpy(), torch.cat(given).numpy(), {})
