"""Data sets that a Python program holds, as stkd's own."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import StkdError, unknown
from . import GIVEN, opened
from .base import UNLABELLED, DataSet, ImageFiles, Interpolation, Part, Request, Split
from .channel_stats import IMAGENET_MEAN, IMAGENET_STD, channel_stats
from .datasets.folder import SPLIT_NAMES, folder
from .decode import pixel_size
from .digest import fingerprint
from .image_arrays import augment_for
from .image_tree import broken_to_drop, load_images
from .python_folders import Listed, folder_of, listed
from .python_items import PAIR, as_labels, class_names, kind_of, read_items, unwrapped
from .splits import hold_out, take
from .usual_size import DEFAULT_SIZE, SMALL

__all__ = ["data_from", "spec_of"]

_log = logging.getLogger(__name__)


def data_from(
    source: Any,
    *,
    image_size: int | None = None,
    val_fraction: float = 0.0,
    train_images: int | None = None,
    split_seed: int = 0,
    skip_bad: bool = False,
    crop_pct: float | None = None,
    interpolation: Interpolation | None = None,
) -> DataSet:
    """A data set from what a Python program holds.

    Its own transforms are not applied: stkd crops, flips and normalises itself, alike for teacher and student. Images
    that can only be had through a transform are taken once, as they come. An `ImageFolder` is read from its files, as
    "folder:PATH" would be.

    Args:
        source: A map-style torch `Dataset` of (image, label), such as torchvision's; a `DataLoader`, of which the data
            set is taken; a Hugging Face `datasets.Dataset` with columns image and label; or a pair (images, labels) of
            arrays or tensors, (N, H, W), (N, C, H, W) or (N, H, W, C). Or several of these as splits: a mapping
            {"train": ..., "val": ..., "test": ...}, or a pair (train, test). Images are PIL images, or arrays or
            tensors of 0..255 or of floats 0..1. Where train is given alone, a fifth of it becomes the test split.
        image_size: Side in pixels to bring images to; None keeps equal squares as they are, and makes others 224.
        val_fraction: Share of the training images, in [0, 1), held out as validation split, stratified by class.
        train_images: Train on a stratified, labelled subset of this many images, drawn after the validation split.
        split_seed: Seed of every split that is drawn.
        skip_bad, crop_pct, interpolation: As for `stkd.open_data`.

    Returns:
        The data set.

    Raises:
        StkdError: It is something else, or an image or a label is wrong.

    Example:
        >>> from torchvision.datasets import CIFAR10
        >>> data = stkd.data_from({"train": CIFAR10("data"), "test": CIFAR10("data", train=False)})
        >>> stkd.distill(teacher, student, data, out="runs/small")
    """
    parts = _parts(source)
    root = folder_of(parts)

    def read(request: Request) -> DataSet:
        return _data_set(parts, request) if root is None else folder(root, request)

    return opened(
        read,
        image_size=image_size,
        val_fraction=val_fraction,
        train_images=train_images,
        split_seed=split_seed,
        skip_bad=skip_bad,
        crop_pct=crop_pct,
        interpolation=interpolation,
    )


def spec_of(source: Any) -> str | None:
    """`folder:PATH` where that opens the same data set, so that a run can be opened without the program."""
    root = folder_of(_parts(source))
    # what `open_data` would expand is no plain path
    return None if root is None or "$" in str(root) else f"folder:{root}"


def _parts(source: Any) -> dict[Part, Any]:
    """The splits that were given; one that has to be split is all in "train"."""
    if isinstance(source, tuple) and len(source) == 2 and kind_of(source) != PAIR:
        source = {"train": source[0], "test": source[1]}
    if not isinstance(source, Mapping):
        return {"train": unwrapped(source)}
    parts: dict[Part, Any] = {}
    for name, split in source.items():
        if (part := SPLIT_NAMES.get(str(name).lower())) is None:
            raise unknown("split", str(name), SPLIT_NAMES)
        if part in parts:
            raise StkdError(f"{name!r} names the {part} split a second time; leave one out")
        parts[part] = unwrapped(split)
    if "train" not in parts:
        raise StkdError("there is no split 'train'; give {'train': ..., 'test': ...}")
    return {part: parts[part] for part in _ORDER if part in parts}


_ORDER: tuple[Part, ...] = ("train", "val", "test")

_IMAGENET: tuple[tuple[float, ...], tuple[float, ...]] = (IMAGENET_MEAN, IMAGENET_STD)


def _data_set(parts: Mapping[Part, Any], request: Request) -> DataSet:
    files = {part: found for part, source in parts.items() if (found := listed(source)) is not None}
    if len(files) == len(parts):
        splits, digest = _of_files(files, request)
    else:
        splits, digest = _of_items(parts, request)
    classes = _classes(parts, splits)
    drawn: dict[str, float] = {}
    if list(splits) == ["train"] and classes:
        drawn = {"test_fraction": request.test_fraction, "split_seed": request.split_seed}
        labelled = int((splits["train"].labels != UNLABELLED).sum())
        share = max(request.test_fraction, len(classes) / labelled)
        _log.info("no test split was given: %.0f %% of the images are held out as one", 100 * share)
        splits["train"], splits["test"] = hold_out(splits["train"], share, classes, request.split_seed)
    if "test" not in splits and "val" in splits:
        splits["test"] = splits.pop("val")
    images = splits["train"].images
    if isinstance(images, ImageFiles):
        channels, size = images.channels, images.size
        mean, std = _IMAGENET
    else:
        channels, size = images.shape[1], images.shape[-1]
        mean, std = channel_stats(images)
    return DataSet(
        name=f"{GIVEN}:{kind_of(parts['train'])}",
        classes=classes,
        channels=channels,
        size=size,
        mean=mean,
        std=std,
        augment=augment_for(size),
        train=splits["train"],
        val=splits.get("val"),
        test=splits.get("test"),
        fingerprint=fingerprint(digest, classes, list(parts), **drawn),
        **request.view,
    )


def _of_files(parts: Mapping[Part, Listed], request: Request) -> tuple[dict[Part, Split], str]:
    """Splits of image files, and a digest of their content."""
    found = [(part, Path(os.path.abspath(path)), label) for part, files in parts.items() for path, label in files.pairs]
    if not found:
        raise StkdError("there are no images; give at least one of each class")
    root = Path(os.path.commonpath([path.parent for _, path, _ in found]))
    names = tuple(path.relative_to(root).as_posix() for _, path, _ in found)
    size = request.image_size or _size([path for _, path, _ in found])
    files = ImageFiles(root, names, 3, size, **request.view, skip_bad=request.skip_bad)
    if broken := broken_to_drop(files):
        kept = [row for row, name in enumerate(names) if name not in broken]
        found, names = [found[row] for row in kept], tuple(names[row] for row in kept)
        files = replace(files, names=names)
    images, digest = load_images(files)
    labels = as_labels([label for _, _, label in found])
    whole = Split(images, labels, None if isinstance(images, ImageFiles) else files)
    rows = {part: np.flatnonzero([own == part for own, _, _ in found]) for part in parts}
    mark = fingerprint(digest, labels.tolist(), [len(own) for own in rows.values()], size=size, **request.unusual_view)
    return {part: take(whole, own) for part, own in rows.items()}, mark


def _size(paths: list[Path]) -> int:
    """The images' own side where all are equal small squares, as for a folder."""
    sizes = {pixel_size(path) for path in paths}
    first = next(iter(sizes))
    if len(sizes) == 1 and first is not None and first[0] == first[1] and 8 <= first[0] <= SMALL:
        return first[0]
    return DEFAULT_SIZE


def _of_items(parts: Mapping[Part, Any], request: Request) -> tuple[dict[Part, Split], str]:
    """Splits of images that are asked for one by one, and a digest of their content."""
    read = {part: read_items(source, request) for part, source in parts.items()}
    shapes = {items.images.shape[1:] for items in read.values()}
    if len({shape[0] for shape in shapes}) == 1 < len(shapes):
        read = {part: read_items(source, replace(request, image_size=DEFAULT_SIZE)) for part, source in parts.items()}
        shapes = {items.images.shape[1:] for items in read.values()}
    if len(shapes) > 1 or len({items.top for items in read.values()}) > 1:
        raise StkdError(
            "the splits differ in the number of channels, or in whether white is 1 or 255; give all in the same form"
        )
    total = blake2b(repr(request.unusual_view).encode(), digest_size=16)
    for part, items in read.items():
        total.update(f"{part} {items.images.shape}".encode())
        total.update(items.images.data)
        total.update(items.labels.data)
    return {part: Split(items.images, items.labels) for part, items in read.items()}, total.hexdigest()


def _classes(parts: Mapping[Part, Any], splits: Mapping[Part, Split]) -> tuple[str, ...]:
    named = {part: names for part, source in parts.items() if (names := class_names(source)) is not None}
    if len(set(named.values())) > 1:
        raise StkdError("the splits have other class names; give them the same classes in the same order")
    highest = max(int(split.labels.max()) for split in splits.values())
    for part, split in splits.items():
        if part != "train" and (split.labels == UNLABELLED).any():
            raise StkdError(f"{part} has images without a label (-1); only training images may have none")
    classes = next(iter(named.values())) if named else tuple(map(str, range(highest + 1)))
    if highest >= len(classes):
        raise StkdError(f"a label is {highest}, but there are {len(classes)} classes; give numbers from 0")
    if len(classes) == 1:
        raise StkdError(f"there is one class, {classes[0]!r}, and a classifier needs two; give images of more classes")
    return classes
