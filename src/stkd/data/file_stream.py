"""Batches of image files as uint8 pixels, decoded in advance by worker processes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from ..core.errors import StkdError
from .augment import resized_boxes, shifted
from .base import Augment, ImageFiles
from .decode import decode_square, open_image, resized_crop
from .plan import EpochPlan, StepPlan

__all__ = ["FileStream", "centred"]

Key = tuple[int, int]
"""Epoch and step."""


class FileStream:
    """Training batches of files, the same for a key whenever they are asked for.

    The workers live as long as the stream and decode images of the next epoch while the last one is evaluated.

    Args:
        files: The images.
        augmentation: Which augmentation.
        plan: `plan(epoch=e)` draws the tables of an epoch.
        steps: Steps in an epoch.
        workers: Processes; 0 decodes in this one.
        pin: Put batches into pinned memory, for a GPU.
    """

    def __init__(
        self,
        files: ImageFiles,
        augmentation: Augment,
        plan: Callable[..., EpochPlan],
        *,
        steps: int,
        workers: int,
        pin: bool,
    ) -> None:
        self.dataset = _Planned(files, augmentation, plan)
        self.steps, self.workers, self.pin = steps, workers, pin
        self._coming: Key | None = None
        self._batches: Iterator[Tensor] = iter(())

    def take(self, epoch: int, step: int) -> Tensor:
        """Images uint8 (B, S, S, C), cropped, resized and mirrored as planned.

        Raises:
            StkdError: A file is missing or broken.
        """
        if self._coming != (epoch, step):
            keys = _Keys(epoch, step, self.steps)
            self._batches = _decoded(self.dataset, keys, self.workers, self.pin)
        self._coming = None
        images = next(self._batches)
        self._coming = (epoch, step + 1) if step + 1 < self.steps else (epoch + 1, 0)
        return images


def centred(files: ImageFiles, chunks: Sequence[range], *, workers: int, pin: bool) -> Iterator[Tensor]:
    """Chunks of files as uint8 (b, S, S, C), resized and cut to the centre square.

    Raises:
        StkdError: A file is missing or broken.
    """
    return _decoded(_Centred(files, chunks), range(len(chunks)), workers, pin)


class _Keys(Sampler[Key]):
    """All steps from one on, without end."""

    def __init__(self, epoch: int, step: int, steps: int) -> None:
        self.epoch, self.step, self.steps = epoch, step, steps

    def __iter__(self) -> Iterator[Key]:
        epoch, step = self.epoch, self.step
        while True:
            yield epoch, step
            epoch, step = (epoch, step + 1) if step + 1 < self.steps else (epoch + 1, 0)


class _Planned(Dataset[Tensor]):
    """Item (epoch, step) = the pixels of that batch."""

    def __init__(self, files: ImageFiles, augmentation: Augment, plan: Callable[..., EpochPlan]) -> None:
        self.files, self.augmentation, self.plan = files, augmentation, plan
        self._current: EpochPlan | None = None

    def __getitem__(self, key: Key) -> Tensor:
        epoch, step = key
        if self._current is None or self._current.epoch != epoch:
            self._current = self.plan(epoch=epoch)
        plan = self._current[step]
        if self.augmentation == "resized":
            return _cropped(self.files, plan)
        images = _squares(self.files, plan.index.tolist())
        return shifted(images, torch.arange(len(images)), self.augmentation, plan.crop, plan.flip)


class _Centred(Dataset[Tensor]):
    """Item = the pixels of one chunk."""

    def __init__(self, files: ImageFiles, chunks: Sequence[range]) -> None:
        self.files, self.chunks = files, chunks

    def __getitem__(self, item: int) -> Tensor:
        return _squares(self.files, self.chunks[item])


def _squares(files: ImageFiles, index: Sequence[int]) -> Tensor:
    out = _empty(len(index), files.size, files.size, files.channels)
    for row, i in zip(out, index, strict=True):
        row.copy_(decode_square(files.root / files.names[i], files.channels, files.size).permute(1, 2, 0))
    return out


def _cropped(files: ImageFiles, plan: StepPlan) -> Tensor:
    """Random-resized-crops, taken from images that are decoded no larger than their crop needs."""
    size = files.size
    images = [open_image(files.root / files.names[i]) for i in plan.index.tolist()]
    height, width = torch.tensor([[image.height, image.width] for image in images]).unbind(1)
    boxes = resized_boxes(plan.crop, height, width).tolist()
    out = _empty(len(images), size, size, files.channels)
    for row, image, (top, left, h, w), mirror in zip(out, images, boxes, plan.flip.tolist(), strict=True):
        pixels = image.pixels(files.channels, min(h, w) / size / 2)  # half is left to the resizing
        y, x = pixels.shape[1] / image.height, pixels.shape[2] / image.width
        box = (round(top * y), round(left * x), max(1, round(h * y)), max(1, round(w * x)))
        crop = resized_crop(pixels, *box, size)
        row.copy_((crop.flip(2) if mirror else crop).permute(1, 2, 0))
    return out


def _empty(*shape: int) -> Tensor:
    """Memory for a batch; in a worker shared memory, so that the batch need not be copied to leave it."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=torch.uint8)
    # as torch's own collation does
    storage: torch.UntypedStorage = torch.UntypedStorage._new_shared(math.prod(shape))  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.uint8).set_(storage).view(shape)


def _decoded(dataset: Dataset[Tensor], items: Any, workers: int, pin: bool) -> Iterator[Tensor]:
    """Whole batches, decoded ahead by worker processes; an error in one of them stays one line."""
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=items,
        num_workers=workers,
        generator=torch.Generator(),  # the default one is the student's, for its dropout
        pin_memory=pin,
        prefetch_factor=2 if workers else None,
    )
    try:
        yield from loader
    except StkdError as error:
        # DataLoader puts the worker's whole traceback into the message.
        raise StkdError(str(error).rsplit("StkdError: ", 1)[-1].strip()) from None
