"""Batches on the device, for training (augmented and mixed by plan) and for evaluation (plain)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ..errors import StkdError
from ..mixing import Mix, Parts, mix_images, mix_labels
from .augment import augment, resized_boxes
from .base import Augment, DataSet, ImageFiles, Split
from .plan import EpochPlan, StepPlan, plan_epoch, steps_per_epoch

__all__ = ["Batch", "TrainLoader", "eval_batches"]


@dataclass(frozen=True)
class Batch:
    """What teacher and student see in one step.

    Attributes:
        images: float32 (R, C, H, W), normalised virtual samples (channels last in memory).
        targets: float32 (R, num_classes), mixed labels.
        labels: int64 (B,), labels of the real images behind the rows.
        index: int64 (B,), positions of those images in the data set.
        parts: Which of the B images make up each row, and with which weights.
        real: Rows that show one real image each; they come first.
        epoch, step: Which batch of the run it is, both from 0.
    """

    images: Tensor
    targets: Tensor
    labels: Tensor
    index: Tensor
    parts: Parts
    real: int
    epoch: int
    step: int


class TrainLoader:
    """Training batches; `epoch(e, start)` yields the same batches whenever and wherever it is called.

    Small sets live on the device as one uint8 tensor; sets of files are decoded by workers ahead of the step.

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
    ) -> None:
        self.batch_size = batch_size
        self.mix = mix
        self.augmentation: Augment = augmentation
        self.seed = seed
        self.device = device
        self.workers = workers
        self.rank = rank
        self.world = world
        self.cycle = cycle
        self.num_classes = len(data.classes)
        self.labels = torch.from_numpy(np.ascontiguousarray(data.train.labels)).to(device)
        images = data.train.images
        self.files = images if isinstance(images, ImageFiles) else None
        self.images = None if isinstance(images, ImageFiles) else torch.from_numpy(np.array(images)).to(device)
        self.scale, self.shift = affine(data.mean, data.std, device)

    @property
    def steps(self) -> int:
        """Batches in an epoch."""
        return steps_per_epoch(len(self.labels), self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches of an epoch from step `start` on."""
        plan = plan_epoch(len(self.labels), self.batch_size, self.mix, seed=self.seed, epoch=epoch, cycle=self.cycle)
        if self.files is None:
            for step in range(start, len(plan)):
                yield self._from_memory(plan[step])
        else:
            loader = _decoded(_CroppedFiles(self.files, plan, self.augmentation), range(start, len(plan)), self.workers)
            for step, images in zip(range(start, len(plan)), loader, strict=True):
                yield self._from_files(plan[step], images)

    def _from_memory(self, step: StepPlan) -> Batch:
        assert self.images is not None
        index = step.index.to(self.device, non_blocking=True)
        crop, flip = step.crop.to(self.device, non_blocking=True), step.flip.to(self.device, non_blocking=True)
        return self._mixed(augment(self.images[index], self.augmentation, crop, flip), index, step)

    def _from_files(self, step: StepPlan, images: Tensor) -> Batch:
        index = step.index.to(self.device, non_blocking=True)
        return self._mixed(images.to(self.device, non_blocking=True).float(), index, step)

    def _mixed(self, images: Tensor, index: Tensor, step: StepPlan) -> Batch:
        real, parts = self.mix.real_rows(len(images)), step.parts
        if self.world > 1:
            # The whole batch is made everywhere, since partners may lie in another process's rows.
            parts = parts.rows(slice(self.rank, None, self.world))
            real = len(range(self.rank, real, self.world))
        parts = parts.to(self.device)
        labels = self.labels[index]
        mixed, lam = mix_images(images, parts)
        mixed = (mixed * self.scale).add_(self.shift).contiguous(memory_format=torch.channels_last)
        targets = mix_labels(labels, parts.index, lam, self.num_classes)
        parts = Parts(parts.index, lam, parts.boxes)
        return Batch(mixed, targets, labels, index, parts, real, step.epoch, step.step)


def eval_batches(
    split: Split, data: DataSet, *, batch_size: int, device: torch.device, workers: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Every image of a split once, in order, without augmentation.

    Yields:
        Normalised images float32 (b, C, H, W) and labels int64 (b,), on the device.
    """
    scale, shift = affine(data.mean, data.std, device)
    labels = torch.from_numpy(np.ascontiguousarray(split.labels))
    starts = range(0, len(split), batch_size)
    if isinstance(split.images, ImageFiles):
        chunks: Sequence[Sequence[int]] = [range(s, min(s + batch_size, len(split))) for s in starts]
        stream: Iterator[Tensor] = _decoded(_CentredFiles(split.images, chunks), range(len(chunks)), workers)
    else:
        memory = split.images
        stream = (torch.from_numpy(np.array(memory[s : s + batch_size])) for s in starts)
    for start, images in zip(starts, stream, strict=True):
        pixels = images.to(device, non_blocking=True).float()
        normalised = (pixels * scale).add_(shift).contiguous(memory_format=torch.channels_last)
        yield normalised, labels[start : start + batch_size].to(device, non_blocking=True)


def affine(mean: Sequence[float], std: Sequence[float], device: torch.device) -> tuple[Tensor, Tensor]:
    """Scale and shift (1, C, 1, 1) that take pixels 0..255 to normalised values in one pass."""
    m, s = torch.tensor(mean, device=device).view(1, -1, 1, 1), torch.tensor(std, device=device).view(1, -1, 1, 1)
    return 1 / (255 * s), -m / s


class _CroppedFiles(Dataset[Tensor]):
    """Item = one step's batch, uint8 (B, C, S, S): cropped from the full image, resized, mirrored as planned."""

    def __init__(self, files: ImageFiles, plan: EpochPlan, augmentation: Augment) -> None:
        self.files = files
        self.plan = plan
        self.augmentation = augmentation

    def __getitem__(self, step: int) -> Tensor:
        from torchvision.transforms.v2 import functional as tv

        from .decode import decode, resize_square

        plan = self.plan[step]
        size = self.files.size
        images = []
        for i, crop, flip in zip(plan.index.tolist(), plan.crop, plan.flip.tolist(), strict=True):
            image = decode(self.files.root / self.files.names[i], self.files.channels)
            if self.augmentation == "resized":
                top, left, h, w = resized_boxes(crop[None], *image.shape[1:])[0].round().int().tolist()
                image = tv.resized_crop(image, top, left, max(1, h), max(1, w), [size, size], antialias=True)
                image = image.flip(2) if flip else image
            else:
                image = resize_square(image, size)
            images.append(image)
        batch = torch.stack(images)
        if self.augmentation in ("none", "resized"):
            return batch
        return augment(batch, self.augmentation, plan.crop, plan.flip).to(torch.uint8)


class _CentredFiles(Dataset[Tensor]):
    """Item = one chunk of images, uint8 (b, C, S, S), resized and cut to the centre square."""

    def __init__(self, files: ImageFiles, chunks: Sequence[Sequence[int]]) -> None:
        self.files = files
        self.chunks = chunks

    def __getitem__(self, item: int) -> Tensor:
        from .decode import decode, resize_square

        paths = (self.files.root / self.files.names[i] for i in self.chunks[item])
        return torch.stack([resize_square(decode(p, self.files.channels), self.files.size) for p in paths])


def _decoded(dataset: Dataset[Tensor], items: range, workers: int) -> Iterator[Tensor]:
    """Whole batches, decoded ahead by worker processes; an error in one of them stays one line."""
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=items,
        num_workers=workers,
        generator=torch.Generator(),  # the default one is the student's, for its dropout
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=2 if workers else None,
    )
    try:
        yield from loader
    except StkdError as error:
        # DataLoader puts the worker's whole traceback into the message.
        raise StkdError(str(error).rsplit("StkdError: ", 1)[-1].strip()) from None
