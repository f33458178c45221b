"""Decoded images on disk, which the next start maps into memory instead of decoding again.

An entry ends with a digest of all that stands before it, so that several processes may write the same one: a rename
replaces both together.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from ..core.files import atomic_file

__all__ = ["CachedRun", "cache_folder", "cached", "cached_run", "digest"]

log = logging.getLogger(__name__)

Arrays = Mapping[str, NDArray[Any]]

_DIGEST_BYTES = 16
_PIECE = 8 << 20  # bytes of an entry that a core takes a digest of at a time


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
        build: Makes the arrays; called when one of them is missing or, after a warning, damaged.

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


class CachedRun(NamedTuple):
    """Bytes of many arrays in one file, one after the other.

    Attributes:
        file: The file.
        shapes: int64 (N, D), the arrays' shapes.
        digests: uint8 (N, 16), see `digest`; whoever reads an array compares its own, so that nobody has to read all.
    """

    file: Path
    shapes: NDArray[np.int64]
    digests: NDArray[np.uint8]


def cached_run(key: str, name: str, build: Callable[[], Iterable[NDArray[np.uint8]]]) -> CachedRun:
    """Arrays of different shapes in one file of the cache, without holding all of them.

    Args:
        key: Digest of all that the arrays depend on; part of the file names.
        name: What they are; part of the file names.
        build: Makes the arrays, all of the same number of dimensions; called when they are not there yet.

    Returns:
        Where they are.

    Raises:
        OSError: The folder cannot be written.
    """
    file = cache_folder() / f"{key}-{name}.bin"
    tables = {part: cache_folder() / f"{key}-{name}-{part}.npy" for part in ("shapes", "digests")}
    if (stored := _read(tables)) is not None and file.exists():
        known = CachedRun(file, np.array(stored["shapes"]), np.array(stored["digests"]))
        if file.stat().st_size == known.shapes.prod(axis=1).sum():
            return known
    shapes, digests = [], []
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file) as out:
        for array in build():
            out.write(array.data)
            shapes.append(array.shape)
            digests.append(np.frombuffer(digest(array), np.uint8))
    made = CachedRun(file, np.array(shapes, np.int64), np.array(digests))
    for part, path in tables.items():
        _save(path, getattr(made, part))
    return made


def digest(content: NDArray[np.uint8]) -> bytes:
    """Digest of an array that lies in one piece, 16 bytes."""
    return blake2b(content.reshape(-1).data, digest_size=_DIGEST_BYTES).digest()


def _digest_of_pieces(content: NDArray[np.uint8]) -> bytes:
    """Digest of the digests of pieces, which all cores take together."""
    starts = range(0, len(content), _PIECE)
    with ThreadPoolExecutor(cpu_count()) as pool:
        parts = pool.map(lambda start: digest(content[start : start + _PIECE]), starts)
        return blake2b(b"".join(parts), digest_size=_DIGEST_BYTES).digest()


def _save(path: Path, array: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        file.write(_digest_of_pieces(np.memmap(file.name, np.uint8, "r")))


def _read(paths: Mapping[str, Path]) -> Arrays | None:
    """All arrays; None where one is missing or, after a warning, damaged."""
    arrays = {}
    for name, path in paths.items():
        try:
            arrays[name] = _checked(path)
        except OSError:
            return None
        except ValueError:
            log.warning("%s is damaged or was written by an earlier version; it is made anew", path)
            return None
    return arrays


def _checked(path: Path) -> NDArray[Any]:
    """An array as a read-only memory map.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not what was written.
    """
    content = np.memmap(path, np.uint8, "r")
    if _digest_of_pieces(content[:-_DIGEST_BYTES]) != content[-_DIGEST_BYTES:].tobytes():
        raise ValueError
    return np.lib.format.open_memmap(path, mode="r")
