"""Data sets in shards: files that each hold many images with their labels."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import StkdError, unknown
from .base import DataSet, Part, Request
from .datasets.folder import SPLIT_NAMES
from .digest import fingerprint
from .folder_layout import open_trees
from .image_tree import ImageTree, Left, why_folder_left
from .members import Members

__all__ = ["Label", "Samples", "Shards", "find_shards", "open_samples"]

Label = int | str | None
"""Number or name of a class; None where it is not known."""

_ORDER: tuple[Part, ...] = ("train", "val", "test")
_MOST_CLASSES = 1_000_000


@dataclass(frozen=True)
class Shards:
    """The shards of a data set.

    Attributes:
        root: Folder that their names are relative to.
        parts: Names of the shards of each split, in order; what is still to be split is all in "train".
        left: Files that are not taken, by the reason in words.
    """

    root: Path
    parts: Mapping[Part, tuple[str, ...]]
    left: Left

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all."""
        return tuple(name for names in self.parts.values() for name in names)


@dataclass(frozen=True)
class Samples:
    """The images of one split, in the order of its shards.

    Attributes:
        names: What messages call them: the name of the shard, and that of the image in it.
        labels: Their classes.
        rows: int64 (N, 3), where they lie, see `Members`.
        left: What else the shards hold, by the reason in words.
    """

    names: Sequence[str]
    labels: Sequence[Label]
    rows: NDArray[np.int64]
    left: Left = field(default_factory=dict)


def find_shards(kind: str, path: Path, suffix: str) -> Shards:
    """Find the shards below a folder, or take the one that is given.

    The split is what the file is called, or else the folders that it lies in: `train-00000-of-00004`, `valid/0007`, by
    one of `SPLIT_NAMES`. Where no shard has the name of one, all are to be split.

    Args:
        kind: Name of the data source, for messages.
        path: The folder, or one file.
        suffix: Ending of the shards, with its dot.

    Raises:
        StkdError: There is none, there is none of train, a folder cannot be read, or a name says two splits.
    """
    if path.is_file():
        return Shards(path.parent, {"train": (path.name,)}, {})
    names, left = _below(path, suffix)
    if not names:
        seen = f" (left out: {', '.join(left['compressed'][:3])})" if left else ""
        raise StkdError(f"{kind}: {path} has no {suffix} files{seen}; give the folder that holds them, or one of them")
    _check_all_there(path, names)
    parts: defaultdict[Part | None, list[str]] = defaultdict(list)
    for name in names:
        parts[_split_of(path, name)].append(name)
    rest = parts.pop(None, [])
    if not parts:
        return Shards(path, {"train": tuple(rest)}, left)
    if not parts["train"]:
        first = next(some[0] for some in parts.values() if some)
        raise StkdError(
            f"{kind}: {path} has {first} but no shard of train; call them train-*{suffix}, or write "
            f"{kind}:{path / first} to split that file"
        )
    if rest:
        left = {**left, "of no split": tuple(rest)}
    return Shards(path, {part: tuple(parts[part]) for part in _ORDER if parts[part]}, left)


def _below(path: Path, suffix: str) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Sorted names of the shards below a folder; and of compressed ones, which are none."""
    names, compressed, seen = [], [], set()

    def refuse(error: OSError) -> None:
        raise StkdError(f"{error.filename} cannot be read ({error.strerror}); check its permissions") from None

    for folder, folders, files in os.walk(path, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        folders[:] = [] if real in seen else sorted(name for name in folders if why_folder_left(name) is None)
        if real not in seen:
            own = [Path(folder, name).relative_to(path).as_posix() for name in files if not name.startswith(".")]
            names += [name for name in own if name.lower().endswith(suffix)]
            compressed += [name for name in own if re.search(rf"{re.escape(suffix)}\.(gz|bz2|xz|zst)$", name.lower())]
        seen.add(real)
    return sorted(names), {"compressed": tuple(sorted(compressed))} if compressed else {}


_NUMBERED = re.compile(r"(?P<before>.*-)(?P<number>\d{5})-of-(?P<count>\d{5})(?P<behind>.*)")
"""As `datasets` numbers its files, from 0 on."""


def _check_all_there(root: Path, names: Sequence[str]) -> None:
    """See that no file is missing whose number says that it should be there.

    Raises:
        StkdError: One is.
    """
    series: defaultdict[tuple[str, str, str], set[int]] = defaultdict(set)
    for name in names:
        if (parts := _NUMBERED.fullmatch(name)) is not None:
            series[parts["before"], parts["count"], parts["behind"]].add(int(parts["number"]))
    for (before, count, behind), there in series.items():
        missing = [number for number in range(int(count)) if number not in there]
        if missing:
            raise StkdError(
                f"{root} lacks {len(missing)} of {int(count)} files of one series, such as "
                f"{before}{missing[0]:05d}-of-{count}{behind}; copy them too"
            )


def _split_of(root: Path, name: str) -> Part | None:
    for part in reversed(name.split("/")):
        found = {SPLIT_NAMES[word] for word in re.split("[^a-z]+", part.lower()) if word in SPLIT_NAMES}
        if len(found) > 1:
            raise StkdError(f"{root / name} has the names of two splits, {' and '.join(sorted(found))}; rename it")
        if found:
            return found.pop()
    return None


def open_samples(
    kind: str,
    shards: Shards,
    parts: Mapping[Part, Samples],
    request: Request,
    *,
    place: Path,
    files: tuple[str, ...],
    classes: Sequence[str] | None,
) -> DataSet:
    """The data set of what the shards hold; all else is as for folders.

    Args:
        kind: Name of the data set.
        shards: The shards.
        parts: The images of each split, in the order train, val, test.
        request: What was asked for.
        place: Folder of the files in which the images lie.
        files: Those files, by number in `Samples.rows`.
        classes: Names of the classes in the order of their labels; None where they are not known.

    Raises:
        StkdError: A label is wrong or missing, or the images do not make a data set.
    """
    root, left = shards.root, dict(shards.left)
    if not len(parts["train"].names):
        raise StkdError(f"{root} has no training images; give shards with images and labels")
    kept: dict[Part, Samples] = {}
    for part, samples in parts.items():
        bare = [name for name, label in zip(samples.names, samples.labels, strict=True) if label is None]
        if part == "train" or not bare:
            kept[part] = samples
        elif len(bare) == len(samples.names):
            left[f"of a {part} split without labels"] = tuple(bare)
        else:
            raise StkdError(f"{root}: {len(bare):,} {part} images have no label, such as {bare[0]}; give them one")
    kept = {part: samples for part, samples in kept.items() if len(samples.names)}
    order = _order(root, kept, classes)
    trees = {part: _tree(samples, order) for part, samples in kept.items()}
    marks = {"labels": fingerprint([tree.classes for tree in trees.values()], order)}
    members = Members(place, files, np.concatenate([samples.rows for samples in kept.values()]))
    return open_trees(kind, root, trees, request.image_size, request, left, marks, members=members, order=order)


def _order(root: Path, parts: Mapping[Part, Samples], classes: Sequence[str] | None) -> Sequence[str] | None:
    """Names of the classes in the order of their labels; None where they are to be sorted.

    Raises:
        StkdError: Some labels are numbers and some are names, or a label is none of the classes.
    """
    used = {label for samples in parts.values() for label in samples.labels if label is not None}
    numbers, words = {label for label in used if isinstance(label, int)}, {x for x in used if isinstance(x, str)}
    if numbers and words:
        raise StkdError(
            f"{root}: some labels are numbers, such as {min(numbers)}, and some are names, such as {min(words)!r}; "
            "give all in one form"
        )
    if numbers and min(numbers) < 0:
        raise StkdError(f"{root}: a label is {min(numbers)}; give numbers from 0, or -1 where the class is not known")
    if numbers and classes is None:
        if max(numbers) >= _MOST_CLASSES:
            raise StkdError(f"{root}: a label is {max(numbers)}; give the classes numbers from 0 on, without gaps")
        return [str(number) for number in range(max(numbers) + 1)]
    if numbers and classes is not None and max(numbers) >= len(classes):
        raise StkdError(
            f"{root}: a label is {max(numbers)}, but {len(classes)} classes have a name, the first of which is number "
            "0; mend the labels or the list of names"
        )
    if classes is not None and (strange := words - set(classes)):
        raise unknown(f"class in a label of {root}:", min(strange), classes)
    return classes


def _tree(samples: Samples, order: Sequence[str] | None) -> ImageTree:
    named = tuple(order[label] if isinstance(label, int) and order else label for label in samples.labels)
    classes = tuple(None if label is None else str(label) for label in named)
    return ImageTree(
        "", tuple(samples.names), classes, Counter(own for own in classes if own is not None), samples.left
    )
