"""Everything random about an epoch, drawn ahead of it as tables: a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..mixing import Mix, Parts, draw
from .operations import NOTHING, STRONG, Drawn, Operations

__all__ = ["EpochPlan", "StepPlan", "Unlabelled", "joined", "keyed_rng", "plan_epoch", "share_of", "steps_per_epoch"]

# One stream of random numbers for each purpose, so that changing one leaves the others as they were.
_ORDER, _CROP, _MIX, _OPERATIONS, _STRONG, _UNLABELLED = 0, 1, 2, 3, 4, 5


def keyed_rng(*key: int) -> np.random.Generator:
    """A generator that depends on its key alone."""
    return np.random.default_rng(list(key))


@dataclass(frozen=True)
class Unlabelled:
    """The last images of a data set, which have no labels.

    Attributes:
        images: How many there are.
        ratio: How many of a batch come with each labelled image.
    """

    images: int
    ratio: float

    def rows(self, batch_size: int) -> int:
        """Rows of a batch that are theirs: as many in each, and at least one is left for the others."""
        return min(max(1, round(batch_size * self.ratio / (1 + self.ratio))), batch_size - 1)


def steps_per_epoch(
    images: int, batch_size: int, *, drop_last: bool = False, unlabelled: Unlabelled | None = None
) -> int:
    """Batches in an epoch, which has every labelled image; a set smaller than one batch is one batch."""
    if unlabelled is not None:
        batch_size = min(batch_size, images)
        images, batch_size = images - unlabelled.images, batch_size - unlabelled.rows(batch_size)
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


def share_of(step: StepPlan, rank: int, world: int) -> StepPlan:
    """What one of several processes shows of a step: every `world`-th row, and the images that these are made of."""
    if world == 1:
        return step
    parts = step.parts.rows(slice(rank, None, world))
    needed, places = torch.unique(parts.index, return_inverse=True)
    drawn, start = [], 0
    for own in step.drawn:
        here = needed[(needed >= start) & (needed < start + len(own))] - start
        drawn.append(replace(own, choice=own.choice[here], place=own.place[here]))
        start += len(own)
    return replace(
        step,
        index=step.index[needed],
        crop=step.crop[needed],
        flip=step.flip[needed],
        parts=replace(parts, index=places),
        real=len(range(rank, step.real, world)),
        drawn=tuple(drawn),
    )


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


def _order_beside(
    images: int, size: int, steps: int, unlabelled: Unlabelled, seed: int, drawn: int
) -> NDArray[np.int64]:
    """Positions (steps, size): so many labelled and unlabelled images in each row, in any order."""
    rows, labelled = unlabelled.rows(size), images - unlabelled.images
    own = np.resize(keyed_rng(seed, drawn, _ORDER).permutation(labelled), (steps, size - rows))
    rng = keyed_rng(seed, drawn, _UNLABELLED)
    others = labelled + np.resize(rng.permutation(unlabelled.images), (steps, rows))
    return rng.permuted(np.concatenate([own, others], axis=1), axis=1)


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
    unlabelled: Unlabelled | None = None,
) -> EpochPlan:
    """Draw an epoch.

    Every image is used; where the last batch is not full, the first images of the epoch's order fill it. Of unlabelled
    images every batch has the same number, and an epoch as many as that takes: some of them, or some again.

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
        unlabelled: The last of the images, where they have no labels and come beside labelled ones.
    """
    if mixed_epochs is not None and epoch >= mixed_epochs:
        mix = Mix(kind="none", instances=1, strong=mix.strong)
    drawn = epoch if cycle is None else epoch % cycle
    steps = steps_per_epoch(images, batch_size, drop_last=drop_last, unlabelled=unlabelled)
    size = min(batch_size, images)
    if unlabelled is None:
        order = np.resize(keyed_rng(seed, drawn, _ORDER).permutation(images), (steps, size))
    else:
        order = _order_beside(images, size, steps, unlabelled, seed, drawn)
    rng = keyed_rng(seed, drawn, _CROP)
    crop = rng.random((steps, size, 4), dtype=np.float32)
    flip = rng.random((steps, size)) < 0.5
    tables = torch.from_numpy(order), torch.from_numpy(crop), torch.from_numpy(flip)
    return EpochPlan(seed, drawn, epoch, mix, *tables, operations)
