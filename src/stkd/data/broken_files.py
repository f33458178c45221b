"""Image files that cannot be decoded: found, and said in one line."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from joblib import cpu_count

from ..core.errors import StkdError
from .base import ImageFiles, Split
from .decode import why_broken
from .splits import take

__all__ = ["broken_files", "find_broken", "readable"]

_SHOWN = 3


def find_broken(files: ImageFiles) -> dict[str, str]:
    """Decode all files, and keep none of them.

    Returns:
        Why a file cannot be decoded, by its name, for those that cannot.
    """
    with ThreadPoolExecutor(cpu_count()) as pool:
        reasons = pool.map(why_broken, files)
        return {name: reason for name, reason in zip(files.names, reasons, strict=True) if reason is not None}


def readable(split: Split) -> Split:
    """A split without the files that cannot be decoded, where such files are passed over; else as it is.

    Raises:
        StkdError: No file is left.
    """
    files = split.images
    if not isinstance(files, ImageFiles) or not files.skip_bad:
        return split
    broken = find_broken(files)
    if broken and len(broken) == len(split):
        first, reason = next(iter(broken.items()))
        raise StkdError(f"none of {len(split)} images of {files.root} can be used: {first} {reason}; replace the files")
    return take(split, np.array([i for i, name in enumerate(files.names) if name not in broken], np.int64))


def broken_files(root: Path, broken: Mapping[str, str]) -> StkdError:
    """The error that names files which cannot be used, and says how to go on.

    Args:
        root: Folder that the names are relative to.
        broken: What is wrong with each file, in words that follow its name.
    """
    first, reason = next(iter(broken.items()))
    if len(broken) == 1:
        return StkdError(f"{root / first} {reason}; delete or replace it, or go on without it by --skip-bad true")
    others = ", ".join([*list(broken)[1:_SHOWN], *(["..."] if len(broken) > _SHOWN else [])])
    return StkdError(
        f"{root} has {len(broken)} files that cannot be used: {first} {reason}, {others}; delete or replace them, or "
        "go on without them by --skip-bad true"
    )
