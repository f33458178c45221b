"""Everything random about an epoch, drawn ahead of it as tables: a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..mixing import Mix, Parts, draw
from .operations import NOTHING, STRONG, Drawn, Operations

__all__ = ["EpochPlan", "StepPlan", "joined", "keyed_rng", "plan_epoch", "steps_per_epoch"]

# One stream of random numbers for each purpose, so that changing one leaves the others as they were.
_ORDER, _CROP, _MIX, _OPERATIONS, _STRONG = 0, 1, 2, 3, 4


def keyed_rng(*key: int) -> np.random.Generator:
    """A generator that depends on its key alone."""
    return np.random.default_rng(list(key))


def steps_per_epoch(images: int, batch_size: int, *, drop_last: bool = False) -> int:
    """Batches in an epoch; a set smaller than one batch is one batch."""
    return max(1, images // batch_size if drop_last else -(-images // batch_size))


@dataclass(frozen=True)
class StepPlan:
    """One step: which images, how each is cropped, flipped and changed, how they are mixed.

    With a strong view every image comes twice, B later with a crop, a flip and operations of that view.

    Attributes:
        index: int64 (B,), positions in the data set.
        crop: float32 (B, 4), uniform numbers in [0, 1) that an augmentation turns into its crop.
        flip: bool (B,).
        parts: Partners and weights of the virtual samples.
        real: Rows that stay real; they come first.
        epoch, step: Which batch of the run it is, both from 0.
        drawn: What happens to consecutive images after crop and flip, B together; empty where nothing does.
    """

    index: Tensor
    crop: Tensor
    flip: Tensor
    parts: Parts
    real: int
    epoch: int
    step: int
    drawn: tuple[Drawn, ...] = ()


def joined(steps: Sequence[StepPlan]) -> StepPlan:
    """The images of several steps as those of one step; its mixing, epoch and number are the first's."""
    index, crop, flip = (torch.cat(t) for t in zip(*((s.index, s.crop, s.flip) for s in steps), strict=True))
    return replace(steps[0], index=index, crop=crop, flip=flip, drawn=tuple(d for s in steps for d in s.drawn))


@dataclass(frozen=True)
class EpochPlan:
    """The tables of an epoch; `plan[step]` is one step's part of them.

    Attributes:
        seed, drawn: What the tables were drawn for; where epochs repeat, `drawn` is the first of them.
        epoch: Number of the epoch.
        mix: How virtual samples are made.
        order, crop, flip: As in `StepPlan`, a row for each step.
        operations: What may happen to an image after crop and flip.
    """

    seed: int
    drawn: int
    epoch: int
    mix: Mix
    order: Tensor
    crop: Tensor
    flip: Tensor
    operations: Operations = NOTHING

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, step: int) -> StepPlan:
        def rng(stream: int) -> np.random.Generator:
            return keyed_rng(self.seed, self.drawn, stream, step)

        size = self.order.shape[1]
        parts, real = draw(self.mix, size, rng(_MIX)), self.mix.real_rows(size)
        plan = StepPlan(self.order[step], self.crop[step], self.flip[step], parts, real, self.epoch, step)
        if self.operations.active or self.mix.strong:
            plan = replace(plan, drawn=(self.operations.draw(size, rng(_OPERATIONS)),))
        return _with_strong_view(plan, rng(_STRONG)) if self.mix.strong else plan


def _with_strong_view(plan: StepPlan, rng: np.random.Generator) -> StepPlan:
    size = len(plan.index)
    crop, flip = rng.random((size, 4), dtype=np.float32), rng.random(size) < 0.5
    return replace(
        plan,
        index=torch.cat([plan.index, plan.index]),
        crop=torch.cat([plan.crop, torch.from_numpy(crop)]),
        flip=torch.cat([plan.flip, torch.from_numpy(flip)]),
        drawn=(*plan.drawn, STRONG.draw(size, rng)),
    )


def plan_epoch(
    images: int,
    batch_size: int,
    mix: Mix,
    *,
    seed: int,
    epoch: int,
    cycle: int | None = None,
    drop_last: bool = False,
    mixed_epochs: int | None = None,
    operations: Operations = NOTHING,
) -> EpochPlan:
    """Draw an epoch.

    Every image is used; where the last batch is not full, the first images of the epoch's order fill it.

    Args:
        images: Size of the data set.
        batch_size: B; a smaller data set is one smaller batch.
        mix: How virtual samples are made.
        seed: Seed of the run.
        epoch: Number of the epoch, from 0.
        cycle: Number of epochs after which they repeat; None if they never do.
        drop_last: Leave out the images that do not fill a batch, instead of filling it.
        mixed_epochs: Number of the first epoch whose images stay real; None mixes in all.
        operations: What may happen to an image after crop and flip.
    """
    if mixed_epochs is not None and epoch >= mixed_epochs:
        mix = Mix(kind="none", instances=1, strong=mix.strong)
    drawn = epoch if cycle is None else epoch % cycle
    steps, size = steps_per_epoch(images, batch_size, drop_last=drop_last), min(batch_size, images)
    order = np.resize(keyed_rng(seed, drawn, _ORDER).permutation(images), (steps, size))
    rng = keyed_rng(seed, drawn, _CROP)
    crop = rng.random((steps, size, 4), dtype=np.float32)
    flip = rng.random((steps, size)) < 0.5
    tables = torch.from_numpy(order), torch.from_numpy(crop), torch.from_numpy(flip)
    return EpochPlan(seed, drawn, epoch, mix, *tables, operations)
