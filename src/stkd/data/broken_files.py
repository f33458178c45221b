"""Image files that cannot be decoded: found, and said in one line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..core.errors import StkdError
from .decode import why_broken

__all__ = ["broken_files", "find_broken"]

_SHOWN = 3


def find_broken(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Decode all files, and keep none of them.

    Returns:
        Why a file cannot be decoded, by its name, for those that cannot.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        reasons = pool.map(lambda name: why_broken(root / name), names)
        return {name: reason for name, reason in zip(names, reasons, strict=True) if reason is not None}


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
