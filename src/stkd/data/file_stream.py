"""Batches of image files as uint8 pixels, decoded in advance by worker processes."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from ..core.accidents import killed_worker
from ..core.errors import StkdError
from .apply_operations import apply_operations
from .augment import resized_boxes, shifted
from .base import Augment, ImageFiles
from .broken_files import broken_files
from .decode import BrokenImage, Encoded, decode_square, open_image, resized_crop
from .pictures import Picture, Pictures
from .plan import EpochPlan, share_of

__all__ = ["FileStream", "centred"]

log = logging.getLogger(__name__)

Key = tuple[int, int]
"""Epoch and step."""

Broken = dict[str, str]
"""Files that cannot be decoded, and why; workers hand it over, since errors would come with their traceback."""


class FileStream:
    """Training batches of files, the same for a key whenever they are asked for.

    The workers live as long as the stream and decode images of the next epoch while the last one is evaluated. In the
    place of a file that cannot be decoded, where such files are passed over, comes the next one of its label.

    Args:
        files: The images.
        labels: Of the images, int64 (N,).
        augmentation: Which augmentation.
        plan: `plan(epoch=e)` draws the tables of an epoch.
        steps: Steps in an epoch.
        workers: Processes; 0 decodes in this one.
        pin: Put batches into pinned memory, for a GPU.
        pictures: What to take random-resized-crops from instead of the files.
        fill: Value of each channel where an image is erased.
        rank, world: This process and their number; each decodes what its own rows are made of.
    """

    def __init__(
        self,
        files: ImageFiles,
        labels: NDArray[np.int64],
        augmentation: Augment,
        plan: Callable[..., EpochPlan],
        *,
        steps: int,
        workers: int,
        pin: bool,
        pictures: Pictures | None = None,
        fill: Sequence[int] = (),
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.dataset = _Planned(files, labels, augmentation, plan, pictures, fill, (rank, world))
        self.steps, self.workers, self.pin = steps, workers, pin
        self._coming: Key | None = None
        self._batches: Iterator[tuple[Tensor, Broken]] = iter(())

    def take(self, epoch: int, step: int) -> Tensor:
        """Images uint8 (B, S, S, C), cropped, resized, mirrored and changed as planned.

        Raises:
            StkdError: A file is missing or broken, and such files are not passed over.
        """
        if self._coming != (epoch, step):
            keys = _Keys(epoch, step, self.steps)
            self._batches = _loaded(self.dataset, keys, self.workers, self.pin)
        self._coming = None
        images, broken = next(self._batches)
        if self.dataset.pictures is not None:
            self.dataset.pictures.tell()
        _tell(self.dataset.files, broken, "the next image of its class is shown in its place")
        if not len(images):
            raise StkdError(
                f"{self.dataset.files.root}: no file of a class can be decoded, such as {next(iter(broken))}"
            )
        self._coming = (epoch, step + 1) if step + 1 < self.steps else (epoch + 1, 0)
        return images


def centred(files: ImageFiles, chunks: Sequence[range], *, workers: int, pin: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Chunks of files as evaluation sees them: uint8 (b, S, S, C), and the positions (b,) of the files.

    Raises:
        StkdError: A file is missing or broken, and such files are not passed over.
    """
    for images, positions, broken in _loaded(_Centred(files, chunks), range(len(chunks)), workers, pin):
        _tell(files, broken, "it is left out")
        yield images, positions


def _tell(files: ImageFiles, broken: Broken, instead: str) -> None:
    if broken and not files.skip_bad:
        raise broken_files(files.root, broken)
    for name, reason in broken.items():
        _warn_once(files.root / name, reason, instead)


@cache
def _warn_once(path: Path, reason: str, instead: str) -> None:
    log.warning("%s %s; %s", path, reason, instead)


class _Keys(Sampler[Key]):
    """All steps from one on, without end."""

    def __init__(self, epoch: int, step: int, steps: int) -> None:
        self.epoch, self.step, self.steps = epoch, step, steps

    def __iter__(self) -> Iterator[Key]:
        epoch, step = self.epoch, self.step
        while True:
            yield epoch, step
            epoch, step = (epoch, step + 1) if step + 1 < self.steps else (epoch + 1, 0)


class _Planned(Dataset[tuple[Tensor, Broken]]):
    """Item (epoch, step) = the pixels of that batch; none where a label has no file that can be decoded."""

    def __init__(
        self,
        files: ImageFiles,
        labels: NDArray[np.int64],
        augmentation: Augment,
        plan: Callable[..., EpochPlan],
        pictures: Pictures | None,
        fill: Sequence[int],
        place: tuple[int, int],
    ) -> None:
        self.place = place
        self.files, self.labels, self.augmentation, self.plan = files, labels, augmentation, plan
        self.pictures, self.fill = pictures, fill
        self._current: EpochPlan | None = None

    def __getitem__(self, key: Key) -> tuple[Tensor, Broken]:
        epoch, step = key
        if self._current is None or self._current.epoch != epoch:
            self._current = self.plan(epoch=epoch)
        plan, broken = share_of(self._current[step], *self.place), Broken()
        images = _empty(len(plan.index), self.files)
        for row, position, crop, flip in zip(images, plan.index.tolist(), plan.crop, plan.flip.tolist(), strict=True):
            show = partial(self._crop, crop=crop, flip=flip) if self.augmentation == "resized" else self._square
            if (pixels := self._first_readable(position, show, broken)) is not None:
                row.copy_(pixels.permute(1, 2, 0))
            elif self.files.skip_bad:
                return images[:0], broken
        if self.augmentation != "resized":
            images = shifted(images, torch.arange(len(images)), self.augmentation, plan.crop, plan.flip)
        apply_operations(images, plan.drawn, self.fill)
        return images, broken

    def _first_readable(self, position: int, show: Callable[[int], Tensor], broken: Broken) -> Tensor | None:
        """What `show` makes of a file, or where files may be passed over of the next one of its label."""
        for other in self._candidates(position):
            try:
                return show(other)
            except BrokenImage as error:
                broken[self.files.names[other]] = error.reason
        return None

    def _candidates(self, position: int) -> Iterator[int]:
        yield position
        if self.files.skip_bad:
            same = np.flatnonzero(self.labels == self.labels[position])
            yield from np.roll(same, -1 - int(np.searchsorted(same, position)))[:-1].tolist()

    def _square(self, position: int) -> Tensor:
        return _square(self.files, position)

    def _crop(self, position: int, crop: Tensor, flip: bool) -> Tensor:
        """A random-resized-crop, of an image that is decoded no larger than it needs."""
        files = self.files
        image: Encoded | Picture = open_image(files[position]) if self.pictures is None else self.pictures[position]
        top, left, h, w = resized_boxes(crop[None], image.height, image.width)[0].tolist()
        pixels = image.pixels(files.channels, min(h, w) / files.size / 2)  # half is left to the resizing
        y, x = pixels.shape[1] / image.height, pixels.shape[2] / image.width
        box = (round(top * y), round(left * x), max(1, round(h * y)), max(1, round(w * x)))
        shown = resized_crop(pixels, *box, files.size)
        return shown.flip(2) if flip else shown


class _Centred(Dataset[tuple[Tensor, Tensor, Broken]]):
    """Item = the pixels of one chunk, and the positions of the files that they are of."""

    def __init__(self, files: ImageFiles, chunks: Sequence[range]) -> None:
        self.files, self.chunks = files, chunks

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor, Broken]:
        images, broken = _empty(len(self.chunks[item]), self.files), Broken()
        shown: list[int] = []
        for position in self.chunks[item]:
            try:
                images[len(shown)].copy_(_square(self.files, position).permute(1, 2, 0))
                shown.append(position)
            except BrokenImage as error:
                broken[self.files.names[position]] = error.reason
        return images[: len(shown)], torch.tensor(shown, dtype=torch.int64), broken


def _square(files: ImageFiles, position: int) -> Tensor:
    return decode_square(files[position], files.channels, files.size, files.crop_pct, files.interpolation)


def _empty(count: int, files: ImageFiles) -> Tensor:
    """Memory for a batch; in a worker shared memory, so that the batch need not be copied to leave it."""
    shape = (count, files.size, files.size, files.channels)
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    # as torch's own collation does
    storage: torch.UntypedStorage = torch.UntypedStorage._new_shared(math.prod(shape))  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)


def _loaded(dataset: Dataset[Any], items: Any, workers: int, pin: bool) -> Iterator[Any]:
    """Items of a data set, made ahead by worker processes.

    Raises:
        StkdError: One of these was killed.
    """
    made = iter(
        DataLoader(
            dataset,
            batch_size=None,
            sampler=items,
            num_workers=workers,
            generator=torch.Generator(),  # the default one is the student's, for its dropout
            pin_memory=pin,
            prefetch_factor=2 if workers else None,
        )
    )
    return _made(made)


def _made(items: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from items
    except RuntimeError as error:
        if (line := killed_worker(error)) is None:
            raise
        raise StkdError(line) from error
