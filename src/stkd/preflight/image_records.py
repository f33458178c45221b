"""What every image looks like: digests that tell copies and near copies, and which files are broken."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

import imagehash
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..data import ImageFiles, Split
from ..data.decode import decode
from ..data.decoded_cache import cached
from ..data.digest import fingerprint
from .file_pass import pass_over

if TYPE_CHECKING:
    from .subject import Subject

__all__ = ["ImageRecords", "SplitRecords", "describe_pixels", "pixels_of", "records_of"]

_VERSION = 1


@dataclass(frozen=True)
class SplitRecords:
    """What the images of a split look like; 0 for those that were not looked at.

    Attributes:
        exact: uint64 (N,), digest of the pixels.
        look: uint64 (N,), difference hash: images that look alike differ in few bits.
    """

    exact: NDArray[np.uint64]
    look: NDArray[np.uint64]


@dataclass(frozen=True)
class ImageRecords:
    """What the images of a data set look like.

    Attributes:
        splits: By the name of the split.
        broken: Files that cannot be decoded, and why.
        left: Images that were not looked at, since that would take too long.
        seconds_left: How long that would take.
    """

    splits: Mapping[str, SplitRecords]
    broken: Mapping[str, str] = field(default_factory=dict)
    left: int = 0
    seconds_left: float = 0.0


def describe_pixels(pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """Digest and difference hash of an image (C, H, W)."""
    exact = blake2b(pixels.tobytes(), digest_size=8, key=repr(pixels.shape).encode()).digest()
    rows = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    look = imagehash.dhash(Image.fromarray(rows[..., 0] if rows.shape[2] == 1 else rows[..., :3]))
    return max(1, int.from_bytes(exact, "little")), int.from_bytes(np.packbits(look.hash).tobytes(), "little")


def records_of(subject: Subject) -> ImageRecords:
    """Look at all images of a data set, as far as time allows; what was seen before is remembered."""
    files = {name: split.images for name, split in subject.splits.items() if isinstance(split.images, ImageFiles)}
    if files:
        return _of_files(subject, files)
    return _of_arrays(subject)


def _of_files(subject: Subject, splits: Mapping[str, ImageFiles]) -> ImageRecords:
    sources = {name: file for files in splits.values() for name, file in zip(files.names, files, strict=True)}
    seen = pass_over(
        next(iter(splits.values())).root, sources, describe_pixels, None if subject.full else subject.seconds
    )
    found = {
        split: SplitRecords(
            *(
                np.array([seen.described.get(name, (0, 0))[part] for name in files.names], np.uint64)
                for part in range(2)
            )
        )
        for split, files in splits.items()
    }
    return ImageRecords(found, seen.broken, seen.left, seen.seconds_left)


def _of_arrays(subject: Subject) -> ImageRecords:
    splits = subject.splits

    def build() -> dict[str, NDArray[np.uint64]]:
        began, out = time.monotonic(), {}
        for name, split in splits.items():
            described = np.zeros((2, len(split)), np.uint64)
            for i in range(len(split)):
                if not subject.full and i % 256 == 0 and time.monotonic() - began > subject.seconds:
                    break
                described[:, i] = describe_pixels(np.asarray(split.images[i]))
            out[name] = described
        return out

    key = fingerprint("images", _VERSION, subject.data.fingerprint, None if subject.full else subject.seconds)
    stored = cached(key, tuple(splits), build)
    found = {name: SplitRecords(*stored[name]) for name in splits}
    return ImageRecords(found, left=sum(int((records.exact == 0).sum()) for records in found.values()))


def pixels_of(split: Split, position: int) -> NDArray[np.uint8]:
    """An image (C, H, W) of a split.

    Raises:
        StkdError: Its file cannot be read.
    """
    images = split.images
    if isinstance(images, ImageFiles):
        pixels: NDArray[np.uint8] = decode(images[position], images.channels).numpy()
        return pixels
    return np.asarray(images[position])
