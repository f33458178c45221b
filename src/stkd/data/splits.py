"""Stratified splits: every class is represented, in its share, and the same seed draws the same images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..core.errors import StkdError
from .base import UNLABELLED, ImageFiles, Split

__all__ = ["draw_stratified", "hold_out", "labelled_subset", "take"]

HOLD_OUT, SUBSET = 1, 2
"""Streams of randomness, so that the subset does not depend on how the held-out images were drawn."""


def take(split: Split, index: NDArray[np.int64]) -> Split:
    """The images at `index`, in that order. A run of neighbours stays a view, anything else is copied."""
    images: NDArray[np.uint8] | ImageFiles
    if isinstance(split.images, ImageFiles):
        images = split.images.take(index)
    elif len(index) and np.array_equal(index, np.arange(index[0], index[0] + len(index))):
        images = split.images[index[0] : index[0] + len(index)]
    else:
        images = np.asarray(split.images)[index]
    return Split(images, split.labels[index], split.decoded and split.decoded.take(index))


def hold_out(split: Split, fraction: float, classes: Sequence[str], seed: int) -> tuple[Split, Split]:
    """Hold a stratified share of the labelled images out.

    Args:
        split: What to draw from; unlabelled images all stay in the first part.
        fraction: Share of the labelled images, in (0, 1).
        classes: Class names, for messages.
        seed: Seed of the draw.

    Returns:
        What is left, and what was held out; both have every class, in the order of `split`.

    Raises:
        StkdError: Nothing is labelled, a class has one image, or the share is too small or too large for the classes.
    """
    sizes = _class_sizes(split.labels)
    if not sizes:
        raise StkdError("no training image has a label, so none can be held out; leave val_fraction at 0")
    for label, size in sizes.items():
        if size < 2:
            raise StkdError(
                f"class {classes[label]!r} has one image, and a split needs two; add images or remove the class"
            )
    total = sum(sizes.values())
    count = round(fraction * total)
    if not len(sizes) <= count <= total - len(sizes):
        raise StkdError(
            f"a share of {fraction:g} of {total} images is {count}, but both parts need one of each of {len(sizes)} "
            f"classes; use a share from {len(sizes) / total:.3g} to {1 - len(sizes) / total:.3g}"
        )
    held = draw_stratified(split.labels, count, keep=1, rng=np.random.default_rng((seed, HOLD_OUT)))
    rest = np.setdiff1d(np.arange(len(split)), held)
    return take(split, rest), take(split, held)


def labelled_subset(split: Split, count: int, seed: int) -> Split:
    """A stratified subset of the labelled images, in the order of `split`.

    Raises:
        StkdError: More are asked for than there are, or fewer than there are classes.
    """
    sizes = _class_sizes(split.labels)
    if count > (total := sum(sizes.values())):
        raise StkdError(f"train_images is {count}, but only {total} labelled training images are there; ask for fewer")
    if count < len(sizes):
        raise StkdError(
            f"train_images is {count}, but there are {len(sizes)} classes; ask for at least one image of each"
        )
    return take(split, draw_stratified(split.labels, count, keep=0, rng=np.random.default_rng((seed, SUBSET))))


def draw_stratified(labels: NDArray[np.int64], count: int, keep: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw labelled positions, each class in its share and at least once.

    scikit-learn's splitters refuse classes of one image and parts smaller than the number of classes, and their draws
    change between versions; a data set's split must not.

    Args:
        labels: (N,), `UNLABELLED` positions are never drawn.
        count: How many to draw.
        keep: How many of each class have to be left.
        rng: Source of randomness.

    Returns:
        Sorted positions (count,).
    """
    members = [np.flatnonzero(labels == label) for label in _class_sizes(labels)]
    sizes = np.array([len(m) for m in members])
    chosen = [rng.permutation(m)[:n] for m, n in zip(members, _shares(sizes, count, keep), strict=True)]
    return np.sort(np.concatenate(chosen))


def _shares(sizes: NDArray[np.int64], count: int, keep: int) -> NDArray[np.int64]:
    """How many of each class: the proportional number, rounded by largest remainder, within [1, size - keep]."""
    quota = sizes * (count / sizes.sum())
    shares: NDArray[np.int64] = np.clip(np.floor(quota), 1, sizes - keep).astype(np.int64)
    while missing := count - int(shares.sum()):
        step = 1 if missing > 0 else -1
        room = shares < sizes - keep if step > 0 else shares > 1
        shares[np.where(room, step * (quota - shares), -np.inf).argmax()] += step
    return shares


def _class_sizes(labels: NDArray[np.int64]) -> dict[int, int]:
    values, counts = np.unique(labels[labels != UNLABELLED], return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
