"""Whole pictures of a set of files, decoded once and kept on disk: what random crops are taken from.

A crop shows 8 to 100 % of its picture, so the square that evaluation sees is not enough, and decoding every file in
every epoch is slow.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from joblib import cpu_count
from numpy.typing import NDArray
from torch import Tensor

from .base import ImageFiles
from .decode import open_image, resized
from .decoded_cache import cache_folder, cached_run
from .digest import digest_images, fingerprint

__all__ = ["MULTIPLE", "Picture", "Pictures", "pictures_of"]

_log = logging.getLogger(__name__)

MULTIPLE = 2.5
"""The shorter side of a kept picture is at most this many times the size that the network sees.

Only crops of less than 16 % of a picture are then enlarged, and the detail of crops is within 5 % of that of crops of
the file; with 2 it is not for every photo, in 0.64 of the space.
"""

VERSION = 1
"""Raised when pictures are decoded to other pixels than before, so that old cache entries are not used."""


@dataclass(frozen=True)
class Picture:
    """A kept picture; it is used as `decode.Encoded` is.

    Attributes:
        file: Where it lies.
        start: Its first byte.
        height, width, depth: Of its pixels, which lie there row by row, channels last.
    """

    file: Path
    start: int
    height: int
    width: int
    depth: int

    def pixels(self, channels: int, reduction: float = 1.0) -> Tensor:
        """uint8 tensor (C, H, W), its channels last in memory; only what is looked at is read."""
        shape = (self.height, self.width, self.depth)
        # "c" maps memory that may be written to without changing the file, which torch wants
        return torch.from_numpy(np.memmap(self.file, np.uint8, "c", self.start, shape)).permute(2, 0, 1)


@dataclass(frozen=True)
class Pictures:
    """The kept pictures of a set, in the order of its files.

    Attributes:
        file: Where they lie, one after the other.
        shapes: int64 (N, 3), height, width and channels.
        starts: int64 (N,), first byte of each.
    """

    file: Path
    shapes: NDArray[np.int64]
    starts: NDArray[np.int64]

    def __getitem__(self, position: int) -> Picture:
        return Picture(self.file, int(self.starts[position]), *map(int, self.shapes[position]))


def pictures_of(files: ImageFiles) -> Pictures | None:
    """Pictures of all files, decoded now or in an earlier session; None where the cache folder cannot keep them.

    Raises:
        StkdError: A file cannot be read or decoded.
    """
    shorter = round(MULTIPLE * files.size)
    digest = digest_images(files)
    key = fingerprint(digest, pictures=VERSION, channels=files.channels, shorter=shorter)
    try:
        file, shapes = cached_run(key, "pictures", lambda: _decoded(files, shorter))
    except OSError as error:
        _log.warning(
            "images are decoded anew in every epoch: %s cannot be written (%s); set STKD_CACHE to a folder with room",
            *(cache_folder(), error.strerror),
        )
        return None
    ends = shapes.prod(axis=1).cumsum()
    return Pictures(file, shapes, np.concatenate([[0], ends[:-1]]))


def _decoded(files: ImageFiles, shorter: int) -> Iterator[NDArray[np.uint8]]:
    """Every picture (H, W, C) in order, made smaller where its shorter side is longer than wanted."""

    def one(position: int) -> NDArray[np.uint8]:
        image = open_image(files[position])
        scale = max(1.0, min(image.height, image.width) / shorter)
        pixels = image.pixels(files.channels, scale / 2)
        if scale > 1:
            pixels = resized(pixels, round(image.height / scale), round(image.width / scale), "bicubic")
        return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())

    with ThreadPoolExecutor(cpu_count()) as pool:
        for start in range(0, len(files), _AHEAD):  # so that few pictures wait in memory to be written
            yield from pool.map(one, range(start, min(start + _AHEAD, len(files))))


_AHEAD = 64
