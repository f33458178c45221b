"""Data sets from folders of images: a tree for each split, or one tree that is split here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import StkdError
from .base import UNLABELLED, DataSet, ImageFiles, Part, Request, Split
from .channel_stats import IMAGENET_MEAN, IMAGENET_STD, channel_stats
from .decoded_cache import cached
from .digest import fingerprint
from .image_arrays import augment_for
from .image_tree import ImageTree, load_images
from .splits import hold_out, take

__all__ = ["open_trees"]


def open_trees(kind: str, root: Path, trees: Mapping[Part, ImageTree], size: int, request: Request) -> DataSet:
    """A data set whose classes are the folders that directly hold images.

    With train and val alone, val serves as test split. With train alone, a stratified `request.test_fraction` of its
    labelled images (at least one of each class) becomes the test split.

    Args:
        kind: Name of the data set.
        root: Folder that holds all.
        trees: Images of each split; train is always there.
        size: Side in pixels to bring images to.
        request: What else was asked for.

    Raises:
        StkdError: The folders do not make a data set.
    """
    classes = _classes(root, trees)
    names = [name for tree in trees.values() for name in tree.names]
    images, digest = load_images(root, names, size)
    position = {name: label for label, name in enumerate(classes)}
    labels = [UNLABELLED if c is None else position[c] for tree in trees.values() for c in tree.classes]
    splits = _cut(Split(images, np.array(labels, np.int64)), trees)
    drawn: dict[str, float] = {}
    if list(trees) == ["train"] and classes:
        drawn = {"test_fraction": request.test_fraction, "split_seed": request.split_seed}
        labelled = int((splits["train"].labels != UNLABELLED).sum())
        share = max(request.test_fraction, len(classes) / labelled)
        splits["train"], splits["test"] = hold_out(splits["train"], share, classes, request.split_seed)
    mark = fingerprint(digest, list(trees), size=size, **drawn)
    mean, std = _stats(splits["train"].images, mark)
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
    )


def _classes(root: Path, trees: Mapping[Part, ImageTree]) -> tuple[str, ...]:
    """The sorted class names of train, or of the other splits where train has no labels at all."""
    known = {part: {c for c in tree.classes if c is not None} for part, tree in trees.items()}
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


def _stats(images: NDArray[np.uint8] | ImageFiles, mark: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Statistics of stored images; those of ImageNet where the images stay on disk."""
    if isinstance(images, ImageFiles):
        return IMAGENET_MEAN, IMAGENET_STD
    stored = cached(mark, ("stats",), lambda: {"stats": np.array(channel_stats(images))})
    mean, std = stored["stats"].tolist()
    return tuple(mean), tuple(std)
