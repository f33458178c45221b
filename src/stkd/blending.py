"""Weighted sums of the images of a batch, in few passes over memory.

At 224 x 224 pixels a batch is larger than any cache, and memory that is new to the process costs more than the sums
themselves. So sums on the CPU are made block by block in one buffer, which may be given and used again.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["blend"]

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
