"""Data sets: splits of uint8 images with labels, and what else is needed to train on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..core.registry import Registry
from .members import Member, Members

__all__ = [
    "UNLABELLED",
    "Augment",
    "DataSet",
    "ImageFiles",
    "Interpolation",
    "Listing",
    "Part",
    "Request",
    "Source",
    "Split",
    "sources",
    "unusual",
]

UNLABELLED = -1
"""Label of an image whose class is not known."""

Augment = Literal["none", "crop4", "crop8", "resized"]
"""Training augmentation: nothing; pad by 4 (8) pixels, crop, flip; random-resized-crop and flip."""

Part = Literal["train", "val", "test"]

Interpolation = Literal["bilinear", "bicubic"]
"""How an image is resized for evaluation; both with antialiasing."""


@dataclass(frozen=True)
class ImageFiles:
    """Images that stay on disk and are decoded as they are needed.

    Attributes:
        root: Folder that the names are relative to.
        names: One relative path per image.
        channels: 1 or 3, what each image is converted to.
        size: Side in pixels of the square that evaluation sees.
        crop_pct, interpolation: How it sees that square, see `decode.resize_square`.
        skip_bad: Whether files that cannot be decoded are passed over.
        members: Where the images lie, if that is inside larger files; messages name them as `names` does.
    """

    root: Path
    names: tuple[str, ...]
    channels: int
    size: int
    crop_pct: float = 1.0
    interpolation: Interpolation = "bilinear"
    skip_bad: bool = False
    members: Members | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[Path | Member]:
        return (self[position] for position in range(len(self)))

    def __getitem__(self, position: int) -> Path | Member:
        """The file of an image, to be read."""
        file = self.root / self.names[position]
        return file if self.members is None else self.members.at(position, str(file))

    def take(self, index: Sequence[int] | NDArray[np.int64]) -> ImageFiles:
        """Some of the images, in the order of `index`."""
        names = tuple(self.names[i] for i in index)
        return replace(self, names=names, members=self.members and self.members.take(index))


@dataclass(frozen=True)
class Split:
    """Images and labels.

    Attributes:
        images: uint8 (N, C, H, W), possibly memory-mapped, or files.
        labels: int64 (N,), `UNLABELLED` where the class is not known.
        decoded: The files that an array of images was decoded from, one an image; None for other arrays.
    """

    images: NDArray[np.uint8] | ImageFiles
    labels: NDArray[np.int64]
    decoded: ImageFiles | None = None

    @property
    def files(self) -> ImageFiles | None:
        """The files behind the images, one an image; None where they have none of their own."""
        return self.images if isinstance(self.images, ImageFiles) else self.decoded

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Listing:
    """What the folders of a data set hold.

    Attributes:
        root: Folder that all names are relative to.
        folders: For each split that has a folder of its own, the number of images of each class folder as it is
            spelt on disk; 0 for one without images. A tree that is split here is all in "train".
        left: Names of files and folders that were not taken, by the reason in words.
    """

    root: Path
    folders: Mapping[Part, Mapping[str, int]]
    left: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class DataSet:
    """A data set, ready to train on.

    Attributes:
        name: The kind it was asked for by.
        classes: Class names, position = label.
        channels: 1 or 3.
        size: Side of the square images, in pixels.
        mean, std: Per-channel normalisation of images scaled to 0..1.
        augment: Training augmentation that suits the images.
        train: The labelled (or unlabelled) training images.
        val: Validation images, None where the source has none and none were held out.
        test: Test images, None where the source has none.
        fingerprint: Hex digest of the content, for caches and for telling whether a run still sees the same data.
        listing: What its folders hold; None for sets that are no folders of images.
        crop_pct, interpolation: How images become the squares of `size` that evaluation sees: the shorter side is
            resized to size / crop_pct, and the centre is cut out.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: Augment
    train: Split
    val: Split | None
    test: Split | None
    fingerprint: str
    listing: Listing | None = None
    crop_pct: float = 1.0
    interpolation: Interpolation = "bilinear"


@dataclass(frozen=True)
class Request:
    """What the user asked of a source besides its path.

    Attributes:
        labels: Which label set, where a source has two (CIFAR-100).
        image_size: Side in pixels to bring images to; None keeps the source's own (folders: 224).
        split_seed: Seed of every split that the source has to draw itself.
        test_fraction: Share of images held out as test split where the source has none (folders).
        nested: Whether folders inside a class folder are classes of their own (folders).
        skip_bad: Whether files that cannot be decoded are left out, instead of ending all (sets of files).
        crop_pct, interpolation: How images become the squares that evaluation sees, see `DataSet`.
    """

    labels: Literal["fine", "coarse"] = "fine"
    image_size: int | None = None
    split_seed: int = 0
    test_fraction: float = 0.2
    nested: bool = False
    skip_bad: bool = False
    crop_pct: float = 1.0
    interpolation: Interpolation = "bilinear"

    @property
    def view(self) -> dict[str, Any]:
        """`crop_pct` and `interpolation`, as keyword arguments."""
        return {"crop_pct": self.crop_pct, "interpolation": self.interpolation}

    @property
    def unusual_view(self) -> dict[str, Any]:
        """As `unusual`."""
        return unusual(self.crop_pct, self.interpolation)


def unusual(crop_pct: float, interpolation: Interpolation) -> dict[str, Any]:
    """Those that are not the default, by name, for fingerprints: with the default they stay what they were."""
    own = {"crop_pct": crop_pct, "interpolation": interpolation}
    usual = {"crop_pct": 1.0, "interpolation": "bilinear"}
    return {name: value for name, value in own.items() if value != usual[name]}


Source = Callable[[Path | None, Request], DataSet]
"""A data source: (path or None, request) -> data set."""

sources: Registry[Source] = Registry("data set", "stkd.data")
