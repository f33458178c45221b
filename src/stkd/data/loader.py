"""Batches on the device, for training (augmented and mixed by plan) and for evaluation (plain)."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..mixing import Mix, Parts, blend, label_weights, mix_images, mix_labels
from .apply_operations import apply_operations
from .augment import resized_crop, shifted, shifts
from .base import Augment, DataSet, ImageFiles, Split
from .batch_buffers import BatchMemory
from .device_batches import virtual
from .file_stream import FileStream, centred
from .operations import NOTHING, Operations
from .pictures import pictures_of
from .plan import StepPlan, Unlabelled, joined, plan_epoch, share_of, steps_per_epoch

__all__ = ["Batch", "TrainLoader", "eval_batches"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """What teacher and student see in one step; of several processes each sees some of its images, and all else.

    Attributes:
        images: float32 (R, C, H, W), normalised virtual samples (channels last in memory). With a strong view R is 2B.
            Of several processes each has every `world`-th row, from its rank on.
        targets: float32 (R, num_classes), mixed labels.
        labels: int64 (B,), labels of the real images behind the rows; with a strong view (2B,), each twice.
        index: int64 (B,), positions of those images in the data set; with a strong view (2B,), each twice.
        parts: Which of the B images make up each row, and with which weights.
        real: Rows that show one real image each; they come first.
        epoch, step: Which batch of the run it is, both from 0.
        strong: Rows that show strong views; they come last, in the order of the rows before them.
    """

    images: Tensor
    targets: Tensor
    labels: Tensor
    index: Tensor
    parts: Parts
    real: int
    epoch: int
    step: int
    strong: int = 0


class TrainLoader:
    """Training batches; `epoch(e, start)` yields the same batches whenever and wherever it is called.

    Small sets live on the device as one uint8 tensor, channels last. Sets of files are decoded by workers ahead of the
    step, and so are random-resized-crops of any set that has files, since they need the whole pictures. Pixels stay
    uint8 until they are mixed and normalised.

    Args:
        data: The data set.
        batch_size: B, over all processes.
        mix: How virtual samples are made.
        augmentation: Which augmentation.
        seed: Seed of the run.
        device: Where batches are wanted.
        workers: Decoding processes, for sets of files.
        rank, world: This process and their number; every process gets its own rows of each batch.
        cycle: Number of epochs after which the batches repeat; None if they never do.
        drop_last: Leave out the images of an epoch that do not fill a batch, instead of filling it.
        mixed_epochs: Number of the first epoch whose images stay real; None mixes in all.
        operations: What may happen to an image after crop and flip.
        unlabelled: The last training images, where they have no labels and come beside labelled ones.

    Attributes:
        at_once: Batches that are made together.
        steps: In an epoch.
    """

    def __init__(
        self,
        data: DataSet,
        *,
        batch_size: int,
        mix: Mix,
        augmentation: Augment,
        seed: int,
        device: torch.device,
        workers: int = 0,
        rank: int = 0,
        world: int = 1,
        cycle: int | None = None,
        drop_last: bool = False,
        mixed_epochs: int | None = None,
        operations: Operations = NOTHING,
        unlabelled: Unlabelled | None = None,
    ) -> None:
        self.batch_size = batch_size
        self.mix = mix
        self.augmentation: Augment = augmentation
        self.device = device
        self.rank = rank
        self.world = world
        self.num_classes = len(data.classes)
        self.labels = torch.from_numpy(np.ascontiguousarray(data.train.labels)).to(device)
        self.steps = steps_per_epoch(len(self.labels), batch_size, drop_last=drop_last, unlabelled=unlabelled)
        self._plan = partial(
            plan_epoch,
            len(self.labels),
            batch_size,
            mix=mix,
            seed=seed,
            cycle=cycle,
            drop_last=drop_last,
            mixed_epochs=mixed_epochs,
            operations=operations,
            unlabelled=unlabelled,
        )
        self._fill = [round(255 * mean) for mean in data.mean]
        images = data.train.images
        files = images if isinstance(images, ImageFiles) else data.train.decoded if augmentation == "resized" else None
        warm = files is None and device.type == "cpu"
        self.at_once = _batches_at_once(data, mix.rows(batch_size)) if warm else 1
        self._size = data.size
        self._fused = device.type != "cpu" and augmentation != "resized" and files is None
        self._virtual = virtual
        self._normalised = _Normalise(data, device, self.at_once)
        self._crops = BatchMemory()
        self._images: Tensor | None = None
        if files is not None:
            pictures = None if isinstance(images, ImageFiles) else pictures_of(files)
            self._stream = partial(
                FileStream,
                *(files, data.train.labels, augmentation),
                steps=self.steps,
                workers=workers,
                pin=device.type == "cuda",
                pictures=pictures,
                fill=self._fill,
            )
            self._files = self._stream(plan=self._plan, rank=rank, world=world)
        elif not isinstance(images, ImageFiles):
            self._images = torch.from_numpy(_channels_last(images)).to(device)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches of an epoch from step `start` on."""
        plan = self._plan(epoch=epoch)
        for first in range(start, len(plan), self.at_once):
            made = self._batches([plan[step] for step in range(first, min(first + self.at_once, len(plan)))])
            made.reverse()
            while made:
                yield made.pop()

    def own_rows(self, rows: int) -> int:
        """How many of so many rows of a batch this process has."""
        return len(range(self.rank, rows, self.world))

    def whole(self) -> TrainLoader:
        """A loader of the same batches, with all of their rows."""
        if self.world == 1:
            return self
        other = copy.copy(self)
        other.rank, other.world = 0, 1
        if self._images is None:
            other._files = self._stream(plan=self._plan)
        return other

    def with_mix(self, mix: Mix) -> TrainLoader:
        """A loader of the same images in the same order, with the same crops and flips, but another mixing."""
        other = copy.copy(self)
        other.mix, other._plan = mix, partial(self._plan, mix=mix)
        if self._images is None and self.world > 1:  # other partners, other files
            other._files = self._stream(plan=other._plan, rank=self.rank, world=self.world)
        return other

    def compile(self) -> None:
        """Compile the making of a batch into one kernel on a GPU; if that fails, warn and stay uncompiled."""
        if not self._fused or self._virtual is not virtual:
            return
        self._virtual = torch.compile(virtual, dynamic=False)
        try:
            next(self.epoch(0))
        except Exception as error:  # whatever the compiler raises
            self._virtual = virtual
            reason = (str(error).splitlines() or [""])[0][:120]
            log.warning("batches are made uncompiled (%s: %s)", type(error).__name__, reason)

    def _batches(self, steps: Sequence[StepPlan]) -> list[Batch]:
        own = [share_of(step, self.rank, self.world) for step in steps]
        if len(steps) == 1:
            return [self._batch(steps[0], own[0])]
        pixels = torch.split(self._pixels(joined(own)), [len(step.index) for step in own])
        return [self._batch(*three) for three in zip(steps, own, pixels, strict=True)]

    def _batch(self, step: StepPlan, own: StepPlan, pixels: Tensor | None = None) -> Batch:
        """The batch of a step, of pixels that `_pixels` gave for this process's share of it before or gives now."""
        index, parts = step.index.to(self.device, non_blocking=True), step.parts.to(self.device)
        labels, lam = self.labels[index], parts.lam
        if self._fused and parts.boxes is None and not step.drawn:
            rows = parts.rows(slice(self.rank, None, self.world))
            images = self._from_set(step, index, rows.index, rows.lam, self._normalised.affine).permute(0, 3, 1, 2)
        else:
            pixels = self._pixels(own) if pixels is None else pixels
            rows = own.parts.to(self.device)
            if rows.boxes is None:
                images = self._normalised(pixels, rows.index, rows.lam)
            else:
                cut, lam = mix_images(pixels.permute(0, 3, 1, 2), rows)
                images = self._normalised(cut.permute(0, 2, 3, 1))
                lam = lam if self.world == 1 else label_weights(parts, self._size, self._size)
        targets = mix_labels(labels, parts.index, lam, self.num_classes)
        strong = len(parts.index) // 2 if self.mix.strong else 0
        parts = Parts(parts.index, lam, parts.boxes)
        return Batch(images, targets, labels, index, parts, step.real, step.epoch, step.step, strong)

    def _pixels(self, step: StepPlan) -> Tensor:
        """Augmented images (B, H, W, C): uint8, or float32 on a GPU or where crops of a set in memory are resized."""
        if self._images is None:
            return self._files.take(step.epoch, step.step).to(self.device, non_blocking=True)
        pixels = self._cropped(step)
        if step.drawn:
            pixels = pixels if pixels.dtype == torch.uint8 else pixels.round().to(torch.uint8)
            apply_operations(pixels, step.drawn, self._fill)
        return pixels

    def _cropped(self, step: StepPlan) -> Tensor:
        """As `_pixels`, of a set in memory, without operations."""
        assert self._images is not None
        index = step.index.to(self.device, non_blocking=True)
        if self._fused:
            own, one = torch.arange(len(index), device=self.device)[:, None], torch.ones(1, device=self.device)
            return self._from_set(step, index, own, one.expand(len(index), 1), (one, torch.zeros_like(one)))
        crop, flip = step.crop.to(self.device, non_blocking=True), step.flip.to(self.device, non_blocking=True)
        if self.augmentation != "resized":
            return shifted(self._images, index, self.augmentation, crop, flip)
        shape = (len(index), *self._images.shape[1:])
        out = self._crops.take(*shape) if self.device.type == "cpu" else torch.empty(shape, device=self.device)
        chunk = _RESIZED_AT_ONCE if self.device.type == "cpu" else len(index)
        for start in range(0, len(index), chunk):
            at = slice(start, start + chunk)
            images = self._images[index[at]].permute(0, 3, 1, 2).contiguous()
            out[at] = resized_crop(images, crop[at], flip[at]).permute(0, 2, 3, 1)
        return out

    def _from_set(
        self, step: StepPlan, index: Tensor, of: Tensor, lam: Tensor, affine: tuple[Tensor, Tensor]
    ) -> Tensor:
        assert self._images is not None
        crop, flip = step.crop.to(self.device, non_blocking=True), step.flip.to(self.device, non_blocking=True)
        shift = None if self.augmentation == "none" else shifts(self.augmentation, crop)
        return self._virtual(self._images, index, shift, flip, of, lam, affine)


_AT_ONCE = 8 * 2**20
"""Bytes of the batches that are made together on a CPU: between two training steps caches hold nothing that a batch is
made with, so that the first takes longer than the next ones."""


def _batches_at_once(data: DataSet, rows: int) -> int:
    return max(1, _AT_ONCE // (4 * rows * data.channels * data.size**2))


_RESIZED_AT_ONCE = 4
"""Images that are resized together on a CPU, where larger temporary tensors are new memory each time."""


def eval_batches(
    split: Split, data: DataSet, *, batch_size: int, device: torch.device, workers: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Every image of a split once, in order, without augmentation; files that are passed over are left out.

    Yields:
        Normalised images float32 (b, C, H, W) and labels int64 (b,), on the device.

    Raises:
        StkdError: A file is broken and may not be left out.
    """
    normalised = _Normalise(data, device)
    labels = torch.from_numpy(np.ascontiguousarray(split.labels))
    chunks = [range(s, min(s + batch_size, len(split))) for s in range(0, len(split), batch_size)]
    images = split.images
    if isinstance(images, ImageFiles):
        stream = centred(images, chunks, workers=workers, pin=device.type == "cuda")
    else:
        stream = ((torch.from_numpy(_channels_last(images[c.start : c.stop])), torch.tensor(c)) for c in chunks)
    for pixels, positions in stream:
        if len(positions):
            yield normalised(pixels.to(device, non_blocking=True)), labels[positions].to(device, non_blocking=True)


def affine(mean: Sequence[float], std: Sequence[float], device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and shift (1, C, 1, 1) that take pixels 0..255 to normalised values in one pass."""
    m, s = torch.tensor(mean, device=device).view(1, -1, 1, 1), torch.tensor(std, device=device).view(1, -1, 1, 1)
    return 1 / (255 * s), -m / s


class _Normalise:
    """From pixels 0..255 to what networks see: mixed, scaled and shifted in one go.

    Args:
        data: Whose mean and standard deviation.
        device: Where.
        at_once: Batches that are made together.
    """

    def __init__(self, data: DataSet, device: torch.device, at_once: int = 1) -> None:
        scale, shift = affine(data.mean, data.std, device)
        self.affine = scale.flatten(), shift.flatten()
        self._memory = BatchMemory(at_once)

    def __call__(self, pixels: Tensor, index: Tensor | None = None, lam: Tensor | None = None) -> Tensor:
        """Images float32 (R, C, H, W), channels last in memory.

        Args:
            pixels: (B, H, W, C), uint8 or float32.
            index, lam: (R, K), what each row is made of; None shows the images themselves.
        """
        if index is None or lam is None:
            index = torch.arange(len(pixels), device=pixels.device)[:, None]
            lam = torch.ones(len(pixels), 1, device=pixels.device)
        height, width, channels = pixels.shape[1:]
        # by rows of pixels: the CPU works on long rows of numbers, not on three channels at a time
        scale, shift = (t.repeat(width) for t in self.affine)
        out = self._memory.take(len(index), height, width * channels) if pixels.device.type == "cpu" else None
        images = blend(pixels.flatten(2), index, lam, (scale, shift), out)
        return images.view(-1, height, width, channels).permute(0, 3, 1, 2)


def _channels_last(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (N, C, H, W), possibly memory-mapped, as new memory (N, H, W, C)."""
    count, channels, height, width = images.shape
    out = np.empty((count, height, width, channels), np.uint8)
    for channel in range(channels):
        out[..., channel] = images[:, channel]
    return out
