"""Decoded images on disk, which the next start maps into memory instead of decoding again."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.files import atomic_file

__all__ = ["cache_folder", "cached", "cached_run"]

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]


def cache_folder() -> Path:
    """`$STKD_CACHE`, or `stkd` in the user's cache folder (`$XDG_CACHE_HOME`, `~/.cache`)."""
    if own := os.environ.get("STKD_CACHE"):
        return Path(own).expanduser()
    if os.name == "nt" and (local := os.environ.get("LOCALAPPDATA")):
        return Path(local) / "stkd" / "cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "stkd"


def cached(key: str, names: Sequence[str], build: Callable[[], Arrays]) -> Arrays:
    """Arrays from the cache, or built and put there.

    Entries are written under a temporary name and renamed, so several processes may build the same one at once. Where
    the folder cannot be written, the arrays stay in memory and a warning says so.

    Args:
        key: Digest of all that the arrays depend on; part of the file names.
        names: Names of the arrays that `build` returns.
        build: Makes the arrays; called when one of them is missing or damaged.

    Returns:
        Read-only memory maps by name, or what `build` returned.
    """
    paths = {name: cache_folder() / f"{key}-{name}.npy" for name in names}
    if (stored := _read(paths)) is not None:
        return stored
    built = build()
    try:
        for name, path in paths.items():
            _save(path, built[name])
    except OSError as error:
        log.warning(
            "decoded images stay in memory: %s cannot be written (%s); set STKD_CACHE to a folder with room to start "
            "faster next time",
            cache_folder(),
            error.strerror,
        )
        return built
    return _read(paths) or built


def cached_run(key: str, name: str, build: Callable[[], Iterable[NDArray[np.uint8]]]) -> tuple[Path, NDArray[np.int64]]:
    """Bytes of arrays of different shapes, one after the other in one file of the cache, without holding all of them.

    Args:
        key: Digest of all that the arrays depend on; part of the file names.
        name: What they are; part of the file names.
        build: Makes the arrays, all of the same number of dimensions; called when they are not there yet.

    Returns:
        The file and the arrays' shapes (N, D).

    Raises:
        OSError: The folder cannot be written.
    """
    file, shapes = cache_folder() / f"{key}-{name}.bin", cache_folder() / f"{key}-{name}.npy"
    if (stored := _read({"shapes": shapes})) is not None and file.exists():
        known: NDArray[np.int64] = np.array(stored["shapes"])
        if file.stat().st_size == known.prod(axis=1).sum():
            return file, known
    made = []
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as out:
        for array in build():
            out.write(array.data)
            made.append(array.shape)
    _save(shapes, np.array(made, np.int64))
    return file, np.array(made, np.int64)


def _save(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        np.save(file, array, allow_pickle=False)


def _read(paths: Mapping[str, Path]) -> Arrays | None:
    """All arrays, or None where one is missing, truncated or not an array."""
    arrays = {}
    for name, path in paths.items():
        try:
            array = np.lib.format.open_memmap(path, mode="r")
            if path.stat().st_size != array.offset + array.nbytes:
                return None
        except (OSError, ValueError):
            return None
        arrays[name] = array
    return arrays
