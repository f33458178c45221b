"""The same image twice: in the training images and in those that score, or in two classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ...data import UNLABELLED, Split
from ..finding import Finding, counted, quoted
from ..image_records import SplitRecords
from ..near_copies import near_pairs
from ..subject import Subject, checks

_MOST = 0.01
"""Share of copies among the images of a split from which on its scores mean nothing."""

_WORDS = {"train": "training", "val": "validation", "test": "test"}


@checks.register("copies", "the same image in two splits or in two classes")
def copies(subject: Subject) -> Iterator[Finding]:
    """Look for equal pixels, and for images that look alike."""
    splits, records = subject.splits, subject.images.splits
    names = {name: names_of(name, split) for name, split in splits.items()}
    for other in ("val", "test"):
        if other in splits:
            yield from _across(other, splits, records, names)
    yield from _in_two_classes(splits, records, names)


def _across(
    other: str, splits: Mapping[str, Split], records: Mapping[str, SplitRecords], names: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    known, asked = records["train"].exact, records[other].exact
    places = np.flatnonzero(np.isin(asked, known[known != 0]))
    if len(places):
        share = len(places) / len(asked)
        pairs = _pairs(known, asked, places)
        listed = [f"{names['train'][a]} = {names[other][b]}" for a, b in pairs]
        yield Finding(
            "error" if share > _MOST else "warning",
            f"{len(places)} of {len(asked):,} {_WORDS[other]} images are copies of training images "
            f"({quoted(listed, 2)}); accuracies on them are too high: remove the copies from one side",
            listed,
        )
    near = near_pairs(splits["train"], records["train"], splits[other], records[other])
    if near:
        listed = [f"{names['train'][a]} ~ {names[other][b]}" for a, b in near]
        yield Finding(
            "note",
            f"{len({b for _, b in near})} of {len(asked):,} {_WORDS[other]} images look nearly like a training image "
            f"({quoted(listed, 2)})",
            listed,
        )


def _pairs(known: NDArray[np.uint64], asked: NDArray[np.uint64], places: NDArray[np.int64]) -> list[tuple[int, int]]:
    """For each place in `asked` the first equal one in `known`."""
    values, first = np.unique(known, return_index=True)
    return [(int(first[np.searchsorted(values, asked[b])]), int(b)) for b in places]


def _in_two_classes(
    splits: Mapping[str, Split], records: Mapping[str, SplitRecords], names: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    exact = np.concatenate([records[name].exact for name in splits])
    labels = np.concatenate([split.labels for split in splits.values()])
    every = [name for split in splits for name in names[split]]
    places = np.flatnonzero((exact != 0) & (labels != UNLABELLED))
    order = places[np.argsort(exact[places], kind="stable")]
    a, b = order[:-1], order[1:]
    twice = (exact[a] == exact[b]) & (labels[a] != labels[b])
    if twice.any():
        listed = [f"{every[i]} = {every[j]}" for i, j in zip(a[twice], b[twice], strict=True)]
        yield Finding(
            "warning",
            f"{counted(len(listed), 'image')} in two classes ({quoted(listed, 2)}); keep each in the right one",
            listed,
        )


def names_of(name: str, split: Split) -> Sequence[str]:
    """What the images of a split are called: by their files, or by their places."""
    files = split.files
    return files.names if files is not None else _Places(name, len(split))


class _Places(Sequence[str]):
    """`train[0]`, `train[1]`, ... made when they are asked for."""

    def __init__(self, name: str, count: int) -> None:
        self.split, self.length = name, count

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, place: int) -> str:  # type: ignore[override]
        if not 0 <= place < self.length:
            raise IndexError(place)
        return f"{self.split}[{place}]"
