"""Virtual samples from a data set in device memory: gather, shift, flip, mix and normalise in one expression.

Every pixel of the result is computed from its K source pixels alone, so that torch.compile makes one kernel of it that
reads each source pixel once. For GPUs; on a CPU copying rows of pixels is faster.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["virtual"]


def virtual(
    images: Tensor,
    index: Tensor,
    shift: Tensor | None,
    flip: Tensor,
    of: Tensor,
    lam: Tensor,
    affine: tuple[Tensor, Tensor],
) -> Tensor:
    """Normalised virtual samples.

    Args:
        images: uint8 (N, H, W, C), the whole set.
        index: int64 (B,), the batch's images in it.
        shift: int64 (B, 2), rows and columns by which each is shifted up and left; what comes in is black. None
            neither shifts nor mirrors.
        flip: bool (B,), which are mirrored.
        of: int64 (R, K), positions in the batch of the images of each row.
        lam: float32 (R, K), their weights.
        affine: Scale and shift (C,) that take pixels 0..255 to normalised values.

    Returns:
        float32 (R, H, W, C).
    """
    height, width = images.shape[1:3]
    rows = torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    at = index[of][:, :, None, None]
    if shift is None:
        pixels = images[at, rows[:, None], columns].float()
    else:
        y = rows + shift[of][:, :, :1]
        mirrored = torch.where(flip[of][:, :, None], width - 1 - columns, columns)
        x = mirrored + shift[of][:, :, 1:]
        y_inside, x_inside = (y >= 0) & (y < height), (x >= 0) & (x < width)
        inside = y_inside[:, :, :, None] & x_inside[:, :, None, :]
        y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
        pixels = images[at, y[:, :, :, None], x[:, :, None, :]] * inside[..., None].float()
    mixed = (lam[:, :, None, None, None] * pixels).sum(1)
    scale, offset = affine
    return mixed * scale + offset
