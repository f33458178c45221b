"""Data sets from folders of images: a tree for each split, or one tree that is split here."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import StkdError
from .base import UNLABELLED, DataSet, ImageFiles, Listing, Part, Request, Split
from .channel_stats import IMAGENET_MEAN, IMAGENET_STD, channel_stats
from .decoded_cache import cached
from .digest import fingerprint
from .image_arrays import augment_for
from .image_tree import BROKEN, ImageTree, Left, broken_to_drop, load_images
from .members import Members
from .splits import hold_out, take
from .usual_size import DEFAULT_SIZE, usual_size

__all__ = ["open_trees"]


def open_trees(
    kind: str,
    root: Path,
    trees: Mapping[Part, ImageTree],
    size: int | None,
    request: Request,
    left: Left | None = None,
    marks: Mapping[str, str] | None = None,
    *,
    members: Members | None = None,
    order: Sequence[str] | None = None,
) -> DataSet:
    """A data set of a tree for each split.

    With train and val alone, val serves as test split. With train alone, a stratified `request.test_fraction` of its
    labelled images (at least one of each class) becomes the test split.

    Args:
        kind: Name of the data set.
        root: Folder that names are relative to.
        trees: Images of each split; train is always there.
        size: Side in pixels to bring images to; None keeps that of equal small squares, see `usual_size`.
        request: What else was asked for.
        left: What is not taken of that which lies beside the trees.
        marks: What else makes the data set what it is, beside names and content of the files.
        members: Where the images lie, in the order of the trees, if that is inside larger files.
        order: Names of the classes in the order of their labels; None sorts them.

    Raises:
        StkdError: The folders do not make a data set, or files cannot be decoded.
    """
    names = tuple(name for tree in trees.values() for name in tree.names)
    options = {**request.view, "skip_bad": request.skip_bad, "members": members}
    files = ImageFiles(root, names, 3, DEFAULT_SIZE if size is None else size, **options)
    if size is None:
        size = usual_size(files)
        files = replace(files, size=size)
    if broken := broken_to_drop(files):
        trees = {part: _without(root, tree, broken) for part, tree in trees.items()}
        files = files.take([row for row, name in enumerate(names) if name not in broken])
    spelt = _spellings(trees) if order is None else {name: name for name in order}
    own = _classes(root, trees, spelt)
    classes = own if order is None else tuple(order)
    images, digest = load_images(files)
    position = {name: label for label, name in enumerate(classes)}
    labels = [UNLABELLED if own is None else position[spelt[own]] for tree in trees.values() for own in tree.classes]
    whole = Split(images, np.array(labels, np.int64), None if isinstance(images, ImageFiles) else files)
    splits = _cut(whole, trees)
    marked: dict[str, Any] = {**_marks(trees, request), **(marks or {})}
    if list(trees) == ["train"] and own:
        marked |= {"test_fraction": request.test_fraction, "split_seed": request.split_seed}
        labelled = int((splits["train"].labels != UNLABELLED).sum())
        share = max(request.test_fraction, len(classes) / labelled)
        splits["train"], splits["test"] = hold_out(splits["train"], share, classes, request.split_seed)
    mark = fingerprint(digest, list(trees), size=size, **marked)
    mean, std = _stats(splits["train"].images, mark)
    listing = _listing(root, trees, left or {})
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")
    return DataSet(
        name=kind,
        classes=classes,
        channels=3,
        size=size,
        mean=mean,
        std=std,
        augment=augment_for(size),
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        fingerprint=mark,
        listing=listing,
        **request.view,
    )


def _without(root: Path, tree: ImageTree, broken: frozenset[str]) -> ImageTree:
    pairs = list(zip(tree.names, tree.classes, strict=True))
    kept = [(name, own) for name, own in pairs if name not in broken]
    gone = [(name, own) for name, own in pairs if name in broken]
    if not kept:
        raise StkdError(f"{root / tree.folder} has no image that can be decoded; replace the files")
    lost = Counter(own for _, own in gone)
    return replace(
        tree,
        names=tuple(name for name, _ in kept),
        classes=tuple(own for _, own in kept),
        folders={folder: count - lost[folder] for folder, count in tree.folders.items()},
        left={**tree.left, BROKEN: (*tree.left.get(BROKEN, ()), *(name for name, _ in gone))},
    )


def _spellings(trees: Mapping[Part, ImageTree]) -> dict[str, str]:
    """Class names by class folder: in one Unicode form and printable.

    Copying between systems changes the form, so a folder of one split is the class of another with the other form.
    Two folders of one split are two classes, and keep their own form.
    """
    own = {folder for folder in trees["train"].classes if folder is not None}
    every = {folder for tree in trees.values() for folder in tree.classes if folder is not None}
    forms: defaultdict[str, list[str]] = defaultdict(list)
    for folder in own or every:
        forms[_form(folder)].append(folder)
    names = {}
    for folder in every:
        same = forms.get(_form(folder), [])
        names[folder] = _form(folder) if len(same) == 1 else _printable(folder)
    return names


def _form(folder: str) -> str:
    return unicodedata.normalize("NFC", _printable(folder))


def _printable(name: str) -> str:
    """A name of a file system, which may be any bytes, as text that can be written out."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def _classes(root: Path, trees: Mapping[Part, ImageTree], spelt: Mapping[str, str]) -> tuple[str, ...]:
    """The sorted class names of train, or of the other splits where train has no labels at all."""
    known = {part: {spelt[own] for own in tree.classes if own is not None} for part, tree in trees.items()}
    for part, tree in trees.items():
        if part != "train" and None in tree.classes:
            stray = tree.names[tree.classes.index(None)]
            raise StkdError(f"{root / stray} is a {part} image in no class folder; move it into one or remove it")
        if known["train"] and (extra := sorted(known[part] - known["train"])):
            raise StkdError(
                f"{root}: class {extra[0]!r} of {part} is not in train; add training images or remove the class"
            )
    classes = sorted(known["train"] or set().union(*known.values()))
    if len(classes) == 1:
        raise StkdError(
            f"{root} has the one class {classes[0]!r}, and a classifier needs two; give the folder that "
            "holds a folder of each class"
        )
    return tuple(classes)


def _cut(whole: Split, trees: Mapping[Part, ImageTree]) -> dict[Part, Split]:
    splits: dict[Part, Split] = {}
    start = 0
    for part, tree in trees.items():
        splits[part] = take(whole, np.arange(start, start + len(tree.names)))
        start += len(tree.names)
    return splits


def _marks(trees: Mapping[Part, ImageTree], request: Request) -> dict[str, Any]:
    """What makes another data set of the same files, by name."""
    marks = request.unusual_view
    if not request.nested and any(_has_deeper(tree) for tree in trees.values()):
        marks["classes"] = "first folders"  # in the first versions they were the last folders
    return marks


def _has_deeper(tree: ImageTree) -> bool:
    """Whether an image lies in a folder inside its class folder."""
    start = len(tree.folder) + 1 if tree.folder else 0
    return any(name.count("/", start) > 1 for name in tree.names)


def _listing(root: Path, trees: Mapping[Part, ImageTree], beside: Left) -> Listing:
    left: defaultdict[str, list[str]] = defaultdict(list)
    for part in (beside, *(tree.left for tree in trees.values())):
        for reason, names in part.items():
            left[reason] += map(_printable, names)
    folders = {part: _printable_keys(tree.folders.items()) for part, tree in trees.items()}
    if "test" not in folders and "val" in folders:
        folders["test"] = folders.pop("val")
    return Listing(root, folders, {reason: tuple(sorted(names)) for reason, names in sorted(left.items())})


def _printable_keys(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    return {_printable(folder): count for folder, count in counts}


def _stats(images: NDArray[np.uint8] | ImageFiles, mark: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Statistics of stored images; those of ImageNet where the images stay on disk."""
    if isinstance(images, ImageFiles):
        return IMAGENET_MEAN, IMAGENET_STD
    kept = cached(mark, ("stats",), lambda: {"stats": np.array(channel_stats(images))})
    mean, std = kept["stats"].tolist()
    return tuple(mean), tuple(std)
