"""Virtual samples: weighted interpolations of several images, with their labels mixed alike.

STKD (Zhao et al., Knowledge-Based Systems 256, 2022) builds them with mixup (Zhang et al., ICLR 2018); CutMix (Yun et
al., ICCV 2019) is another way. Drawing (numpy, from a keyed generator) and applying (torch, whole batch, any device)
are apart, so that a virtual sample is a pure function of (data, seed, epoch, step).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .core.errors import StkdError, check_range, unknown

__all__ = ["Mix", "Parts", "blend", "draw", "label_weights", "mix_images", "mix_labels", "virtual_samples"]


_KINDS = ("none", "mixup", "cutmix")
_MOST_INSTANCES = 255  # a byte says whose pixel it is
_LARGEST_ALPHA = 1_000_000  # all weights are then 1 / K to a thousandth; numpy's draws end in NaN at much larger ones


@dataclass(frozen=True)
class Mix:
    """How virtual samples are made.

    Attributes:
        kind: "none" keeps real images, "mixup" interpolates pixels, "cutmix" pastes boxes.
        instances: K, the number of images in one virtual sample; 1 is a real image.
        alpha: Concentration of the Dirichlet(alpha, .., alpha) that the K weights are drawn from; for K = 2 this is
            mixup's Beta(alpha, alpha).
        per_sample: Draw the weights for each sample instead of once for the batch.
        real: Share of each batch that stays real.
        beside: Keep the whole real batch beside the virtual one (twice as many rows).
        largest_first: A sample's own image gets the largest of its weights.
        until: Share of the epochs in which images are mixed; in those after it they stay real.
        strong: Every row comes a second time, made alike of strongly changed views of the same images.

    Raises:
        StkdError: There is no such kind, or a number is out of range.
    """

    kind: Literal["none", "mixup", "cutmix"] = "mixup"
    instances: int = 2
    alpha: float = 1.0
    per_sample: bool = False
    real: float = 0.0
    beside: bool = False
    largest_first: bool = False
    until: float = 1.0
    strong: bool = False

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise unknown("kind of virtual samples", str(self.kind), _KINDS)
        if self.instances < 1:
            raise StkdError(f"instances must be 1 or more, got {self.instances}; 2 is mixup")
        check_range("instances", self.instances, 1, _MOST_INSTANCES)
        if not self.alpha > 0 or not np.isfinite(self.alpha):
            raise StkdError(f"alpha must be a positive number, got {self.alpha}; 1 draws all weights alike")
        check_range("alpha", self.alpha, 0, _LARGEST_ALPHA)
        if not 0 <= self.real <= 1:
            raise StkdError(f"the share of real samples must lie between 0 and 1, got {self.real}")
        if not 0 <= self.until <= 1:
            raise StkdError(f"mix_until is a share of the run, from 0 to 1, got {self.until}")
        if self.beside and self.real:
            raise StkdError("real samples are either a share of the batch or beside it; give one of the two")
        if self.strong and (self.real or self.beside):
            raise StkdError("where each image is strongly changed too, all rows are mixed or none; leave out real rows")

    @property
    def active(self) -> bool:
        """Whether virtual samples differ from real ones."""
        return self.kind != "none" and self.instances > 1 and self.real < 1

    def mixed_epochs(self, epochs: int) -> int | None:
        """Number of the first epoch whose images stay real, in a run of so many; None where all are mixed."""
        return round(self.until * epochs) if self.active and self.until < 1 else None

    def rows(self, batch_size: int) -> int:
        """Rows of a batch, real and virtual."""
        return 2 * batch_size if self.strong or (self.beside and self.active) else batch_size

    def real_rows(self, batch_size: int) -> int:
        """Rows of a batch that stay real; they come first."""
        if not self.active:
            return self.rows(batch_size)
        return batch_size if self.beside else round(self.real * batch_size)


@dataclass(frozen=True)
class Parts:
    """What each row of a batch is made of.

    Attributes:
        index: int64 (R, K), positions in the real batch of the K images of each row; column 0 is the row's own image.
            Strong views stand behind the B images, at B to 2B.
        lam: float32 (R, K), their weights; each row sums to 1.
        boxes: float32 (R, K - 1, 4), (y0, x0, y1, x1) as shares of height and width that the images 2..K are pasted
            into (CutMix), else None.
    """

    index: Tensor
    lam: Tensor
    boxes: Tensor | None = None

    def to(self, device: torch.device | str) -> Parts:
        """The same parts on another device."""
        boxes = None if self.boxes is None else self.boxes.to(device, non_blocking=True)
        return Parts(self.index.to(device, non_blocking=True), self.lam.to(device, non_blocking=True), boxes)

    def twice(self, images: int) -> Parts:
        """The same rows, and once more of the images that stand behind so many."""
        boxes = None if self.boxes is None else torch.cat([self.boxes, self.boxes])
        return Parts(torch.cat([self.index, self.index + images]), torch.cat([self.lam, self.lam]), boxes)

    def rows(self, rows: slice) -> Parts:
        """Some of the rows."""
        return Parts(self.index[rows], self.lam[rows], None if self.boxes is None else self.boxes[rows])


def draw(mix: Mix, batch_size: int, rng: np.random.Generator) -> Parts:
    """Draw partners and weights for one batch.

    Args:
        mix: How virtual samples are made.
        batch_size: B, number of real images.
        rng: Keyed generator; the same generator state gives the same parts.

    Returns:
        Parts of R rows: R = B, or 2B with real and virtual samples side by side (real ones first), or with a strong
        view (which comes last).
    """
    if mix.strong:
        return draw(replace(mix, strong=False), batch_size, rng).twice(batch_size)
    own = np.arange(batch_size)
    if not mix.active:
        return Parts(torch.from_numpy(own[:, None]), torch.ones(batch_size, 1))
    k = mix.instances
    index = np.stack([own, *(rng.permutation(batch_size) for _ in range(k - 1))], axis=1)
    # A tiny alpha can underflow every gamma draw behind the Dirichlet; its limit is one whole image.
    draws = rng.dirichlet(np.full(k, mix.alpha), size=batch_size if mix.per_sample else 1)
    whole = np.eye(k)[rng.integers(k, size=len(draws))]
    weights = np.where(np.isfinite(draws).all(axis=1, keepdims=True), draws, whole)
    if mix.largest_first:
        weights = -np.sort(-weights, axis=1)
    lam = np.broadcast_to(weights, (batch_size, k)).astype(np.float32)
    # float32 rounding must not make a label distribution that does not sum to one
    lam[:, 0] = np.maximum(0, 1 - lam[:, 1:].sum(axis=1, dtype=np.float32))
    boxes = _draw_boxes(lam, mix.per_sample, rng) if mix.kind == "cutmix" else None
    # The order of a batch is random already, so its first rows are a random share of it.
    real = 0 if mix.beside else mix.real_rows(batch_size)
    lam[:real] = np.eye(k, dtype=np.float32)[0]
    if boxes is not None:
        boxes[:real] = 0
    if mix.beside:
        index = np.concatenate([np.repeat(own[:, None], k, axis=1), index])
        lam = np.concatenate([np.broadcast_to(np.eye(k, dtype=np.float32)[0], lam.shape), lam])
        boxes = None if boxes is None else np.concatenate([np.zeros_like(boxes), boxes])
    return Parts(torch.from_numpy(index), torch.from_numpy(lam), None if boxes is None else torch.from_numpy(boxes))


def _draw_boxes(lam: NDArray[np.float32], per_sample: bool, rng: np.random.Generator) -> NDArray[np.float32]:
    """CutMix's boxes (B, K - 1, 4): uniform centre, area = weight, cut off at the border (Yun et al., eq. 2)."""
    b, k = lam.shape
    centre = rng.random((b if per_sample else 1, k - 1, 2))
    half = np.sqrt(lam[:, 1:, None]) / 2
    boxes: NDArray[np.float32] = np.concatenate([centre - half, centre + half], axis=2).clip(0, 1).astype(np.float32)
    return boxes


def mix_images(images: Tensor, parts: Parts) -> tuple[Tensor, Tensor]:
    """Build the virtual images.

    Args:
        images: Floating point or uint8 (B, C, H, W), augmented already.
        parts: What each of the R rows is made of, on the same device.

    Returns:
        Images (R, C, H, W) and the weights (R, K) that their labels mix with. With mixup they are `parts.lam`, and
        images of type uint8 become float32; with CutMix they are the shares of pixels that each image really covers.
    """
    if parts.boxes is not None:
        return _cut(images, parts.index, parts.boxes)
    if parts.index.shape[1] == 1:
        return (images if len(parts.index) == len(images) else images[parts.index[:, 0]]), parts.lam
    return blend(images, parts.index, parts.lam), parts.lam


def _cut(images: Tensor, index: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Paste images 2..K into their boxes, later ones on top; the weights are the shares of pixels left of each."""
    owner = _owners(boxes, *images.shape[2:])
    mixed = images[index[:, 0]]
    for i in range(1, index.shape[1]):
        mixed = torch.where((owner == i)[:, None], images[index[:, i]], mixed)
    return mixed, _shares(owner, index.shape[1])


def _owners(boxes: Tensor, height: int, width: int) -> Tensor:
    """Which of its K images each pixel (R, H, W) is of, from 0; later ones are on top."""
    y = torch.arange(height, device=boxes.device).view(1, -1, 1)
    x = torch.arange(width, device=boxes.device).view(1, 1, -1)
    edges = (boxes * boxes.new_tensor([height, width, height, width])).round()
    owner = torch.zeros(len(boxes), height, width, dtype=torch.uint8, device=boxes.device)
    for i, edge in enumerate(edges.unbind(1), 1):
        y0, x0, y1, x1 = (e.view(-1, 1, 1) for e in edge.unbind(1))
        owner = torch.where((y >= y0) & (y < y1) & (x >= x0) & (x < x1), i, owner)
    return owner


def _shares(owner: Tensor, instances: int) -> Tensor:
    """Share of the pixels (R, H, W) that each of K images covers (R, K)."""
    return torch.stack([(owner == i).float().mean(dim=(1, 2)) for i in range(instances)], dim=1)


def label_weights(parts: Parts, height: int, width: int) -> Tensor:
    """Weights (R, K) that the labels of virtual samples of a size in pixels mix with, as `mix_images` gives them."""
    if parts.boxes is None:
        return parts.lam
    return _shares(_owners(parts.boxes, height, width), parts.index.shape[1])


def mix_labels(labels: Tensor, index: Tensor, lam: Tensor, num_classes: int) -> Tensor:
    """Mixed labels y~ = sum_k lam_k onehot(y_k).

    Args:
        labels: int64 (B,); negative labels (unlabelled) leave their row without mass.
        index: int64 (R, K), positions in the batch.
        lam: (R, K), weights.
        num_classes: C.

    Returns:
        float32 (R, C).
    """
    parts = labels[index]
    known = parts >= 0
    targets = torch.zeros(len(index), num_classes, dtype=torch.float32, device=labels.device)
    return targets.scatter_add_(1, parts.clamp_min(0), lam.float() * known)


def virtual_samples(
    images: Tensor,
    labels: Tensor,
    num_classes: int,
    *,
    instances: int = 2,
    alpha: float = 1.0,
    kind: Literal["mixup", "cutmix"] = "mixup",
    per_sample: bool = False,
    seed: int | tuple[int, ...] | None = None,
) -> tuple[Tensor, Tensor]:
    """Virtual samples of a batch in one call, for use in any training loop.

    Args:
        images: Floating point (B, C, H, W).
        labels: int64 (B,).
        num_classes: C.
        instances: K, images in one virtual sample.
        alpha: Concentration of the Dirichlet distribution of the weights.
        kind: "mixup" or "cutmix".
        per_sample: Draw weights for each sample instead of once for the batch.
        seed: Key of the draw, such as (seed, epoch, step); None draws afresh each time.

    Returns:
        Images (B, C, H, W) and soft labels (B, num_classes), to be shown to teacher and student alike.

    Raises:
        StkdError: There is no such kind, or a number is out of range (labels are looked at on the CPU alone).

    Example:
        >>> x, y = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 1])
        >>> mixed, targets = virtual_samples(x, y, num_classes=3, seed=(0, 1, 2))
        >>> mixed.shape, targets.sum().item()
        (torch.Size([4, 3, 8, 8]), 4.0)
    """
    mix = Mix(kind, instances, alpha, per_sample)
    if labels.device.type == "cpu" and labels.numel() and labels.max() >= num_classes:
        raise StkdError(f"the label {int(labels.max())} is none of the {num_classes} classes, 0 to {num_classes - 1}")
    parts = draw(mix, len(images), np.random.default_rng(seed)).to(images.device)
    mixed, lam = mix_images(images, parts)
    return mixed, mix_labels(labels, parts.index, lam, num_classes)


_BLOCK = 1 << 18
"""Values of a block: small enough for the cache of one core, large enough that calls do not count."""


def blend(
    images: Tensor,
    index: Tensor,
    lam: Tensor,
    affine: tuple[Tensor, Tensor] | None = None,
    out: Tensor | None = None,
) -> Tensor:
    """Rows sum_k lam_rk x_k with x_k = images[index_rk]; with an affine map, that sum times scale plus shift.

    A row whose first weight is 1 is exactly its first image (before the affine map).

    Args:
        images: (B, ...), uint8 or floating point.
        index: int64 (R, K), positions in the batch.
        lam: (R, K), weights; each row sums to 1.
        affine: Scale and shift, each broadcast against (R, ...).
        out: Floating point (R, ...), memory for the result; None takes new memory.

    Returns:
        (R, ...) in the type of `images`, float32 where that is uint8.
    """
    rows, k = index.shape
    if out is None:
        dtype = images.dtype if images.is_floating_point() else torch.float32
        last = images.ndim == 4 and images.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        out = torch.empty((rows, *images.shape[1:]), dtype=dtype, device=images.device, memory_format=layout)
    lam = lam.to(out.dtype).view(rows, k, *[1] * (images.ndim - 1))
    block = max(1, _BLOCK // max(1, images[0].numel())) if images.device.type == "cpu" else rows
    for start in range(0, rows, block):
        at = slice(start, start + block)
        _blend_block(images, index[at], lam[at], affine, out[at])
    return out


def _blend_block(images: Tensor, index: Tensor, lam: Tensor, affine: tuple[Tensor, Tensor] | None, out: Tensor) -> None:
    own, *others = (images.index_select(0, column) for column in index.unbind(1))
    out.copy_(own)
    if len(others) == 1:
        out.lerp_(others[0].to(out.dtype), lam[:, 1])
    elif others:
        out.mul_(lam[:, 0])
        for i, other in enumerate(others, 1):
            out.addcmul_(other.to(out.dtype), lam[:, i])
    if affine is not None:
        scale, shift = affine
        torch.addcmul(shift, out, scale, out=out)
