"""Whole pictures of a set of files, decoded once and kept on disk: what random crops are taken from.

A crop shows 8 to 100 % of its picture, so the square that evaluation sees is not enough, and decoding every file in
every epoch is slow. Pictures are checked when they are first used, since reading all of them takes long.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from joblib import cpu_count
from numpy.typing import NDArray
from torch import Tensor

from .base import ImageFiles
from .decode import open_image, resized
from .decoded_cache import CachedRun, cache_folder, cached_run, digest
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
        decoded: Its pixels (H, W, C), where what lies there is damaged.
    """

    file: Path
    start: int
    height: int
    width: int
    depth: int
    decoded: NDArray[np.uint8] | None = None

    def pixels(self, channels: int, reduction: float = 1.0) -> Tensor:
        """uint8 tensor (C, H, W), its channels last in memory; only what is looked at is read."""
        return torch.from_numpy(self.pixels_of_file() if self.decoded is None else self.decoded).permute(2, 0, 1)

    def pixels_of_file(self) -> NDArray[np.uint8]:
        """What lies in the file, uint8 (H, W, C)."""
        shape = (self.height, self.width, self.depth)
        # "c" maps memory that may be written to without changing the file, which torch wants
        return np.memmap(self.file, np.uint8, "c", self.start, shape)


class Pictures:
    """The kept pictures of a set, in the order of its files.

    A damaged one is decoded again and put in its place.

    Args:
        files: The files.
        kept: Their pictures, uint8 (H, W, C).
        shorter: Largest length of a picture's shorter side.
    """

    def __init__(self, files: ImageFiles, kept: CachedRun, shorter: int) -> None:
        self.files, self.kept, self.shorter = files, kept, shorter
        ends = kept.shapes.prod(axis=1).cumsum()
        self._starts = np.concatenate([[0], ends[:-1]])
        # what one process of a loader has checked the others need not
        self._checked = _shared(len(files), torch.bool)
        self._damaged = _shared(1, torch.int64)
        self._told = False

    def __getitem__(self, position: int) -> Picture:
        """A picture.

        Raises:
            BrokenImage: It is damaged and cannot be decoded again.
        """
        height, width, depth = map(int, self.kept.shapes[position])
        picture = Picture(self.kept.file, int(self._starts[position]), height, width, depth)
        if self._checked[position]:
            return picture
        right = self.kept.digests[position].tobytes()
        if digest(picture.pixels_of_file()) == right:
            self._checked[position] = True
            return picture
        self._damaged += 1
        pixels = _decoded(self.files, position, self.shorter)
        if digest(pixels) == right:  # another version of a decoder may give other pixels
            with contextlib.suppress(OSError), self.kept.file.open("r+b") as file:
                file.seek(picture.start)
                file.write(pixels.data)
        return replace(picture, height=pixels.shape[0], width=pixels.shape[1], decoded=pixels)

    def tell(self) -> None:
        """Warn, once, where pictures were found damaged; processes of a loader have no terminal of their own."""
        if not self._told and self._damaged.item():
            self._told = True
            _log.warning("%s is damaged; its damaged pictures are decoded anew as they are used", self.kept.file)


def _shared(count: int, kind: torch.dtype) -> Tensor:
    """Zeros in memory that processes share."""
    return torch.zeros(count, dtype=kind).share_memory_()  # type: ignore[no-untyped-call, no-any-return]


def pictures_of(files: ImageFiles) -> Pictures | None:
    """Pictures of all files, decoded now or in an earlier session; None where the cache folder cannot keep them.

    Raises:
        StkdError: A file cannot be read or decoded.
    """
    shorter = round(MULTIPLE * files.size)
    key = fingerprint(digest_images(files), pictures=VERSION, channels=files.channels, shorter=shorter)
    try:
        kept = cached_run(key, "pictures", lambda: _decode_all(files, shorter))
    except OSError as error:
        _log.warning(
            "images are decoded anew in every epoch: %s cannot be written (%s); set STKD_CACHE to a folder with room",
            *(cache_folder(), error.strerror),
        )
        return None
    return Pictures(files, kept, shorter)


def _decode_all(files: ImageFiles, shorter: int) -> Iterator[NDArray[np.uint8]]:
    """Every picture in order."""
    with ThreadPoolExecutor(cpu_count()) as pool:
        for start in range(0, len(files), _AHEAD):  # so that few pictures wait in memory to be written
            some = range(start, min(start + _AHEAD, len(files)))
            yield from pool.map(partial(_decoded, files, shorter=shorter), some)


def _decoded(files: ImageFiles, position: int, shorter: int) -> NDArray[np.uint8]:
    """A picture (H, W, C), made smaller where its shorter side is longer than wanted."""
    image = open_image(files[position])
    scale = max(1.0, min(image.height, image.width) / shorter)
    pixels = image.pixels(files.channels, scale / 2)
    if scale > 1:
        pixels = resized(pixels, round(image.height / scale), round(image.width / scale), "bicubic")
    return np.ascontiguousarray(pixels.permute(1, 2, 0).numpy())


_AHEAD = 64
