"""Pairs of images that look nearly the same, though their pixels differ."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray

from ..data import Split
from ..data.decode import resize_square
from .image_records import SplitRecords, pixels_of

__all__ = ["near_pairs"]

_BITS = 3
"""Bits by which the hashes of near copies may differ."""

_BANDS = 4
"""More than `_BITS`: two hashes that differ in so few bits are equal in one of these parts at least."""

_CROWD = 50
"""Images with one part of a hash in common from which on that part says nothing (plain backgrounds)."""

_DIFFERENCE, _SIDE = 6.0, 32
"""Largest mean difference of grey values (0 to 255) between near copies, at this side in pixels."""


def near_pairs(one: Split, ours: SplitRecords, other: Split, theirs: SplitRecords) -> list[tuple[int, int]]:
    """Positions in two splits of images that look nearly the same.

    Candidates have similar difference hashes; of these, pairs whose grey values differ little are kept.

    Args:
        one, other: The splits.
        ours, theirs: What their images look like.
    """
    shift = 64 // _BANDS
    candidates: set[tuple[int, int]] = set()
    for band in range(_BANDS):
        part = np.uint64(band * shift)
        mask = np.uint64((1 << shift) - 1)
        groups: dict[int, list[int]] = defaultdict(list)
        for i in np.flatnonzero(ours.exact):
            groups[int(ours.look[i] >> part & mask)].append(int(i))
        for j in np.flatnonzero(theirs.exact):
            group = groups.get(int(theirs.look[j] >> part & mask), [])
            if len(group) <= _CROWD:
                near = [i for i in group if int(ours.look[i] ^ theirs.look[j]).bit_count() <= _BITS]
                candidates.update((i, int(j)) for i in near if ours.exact[i] != theirs.exact[j])
    return [(i, j) for i, j in sorted(candidates) if _alike(pixels_of(one, i), pixels_of(other, j))]


def _alike(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> bool:
    small = [resize_square(torch.from_numpy(np.array(image)), _SIDE).float().mean(0) for image in (a, b)]
    return float((small[0] - small[1]).abs().mean()) <= _DIFFERENCE and bool(small[0].std() > 1)
