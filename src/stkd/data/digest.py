"""Digests of files: what a cache entry is keyed by, and how a run knows that it still sees the same data."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from ..core.errors import StkdError
from ..core.files import digest_file, write_atomic
from .base import ImageFiles
from .decoded_cache import cache_folder

__all__ = ["digest_files", "digest_images", "digest_names", "fingerprint", "state_of"]

SETTLED_S = 2.0
"""A file younger than this may change again without its time stamp changing, so its digest is not remembered."""


def fingerprint(*parts: object, **options: object) -> str:
    """One hex digest of all parts and options."""
    return _hash([repr(parts).encode(), repr(sorted(options.items())).encode()])


def digest_files(root: Path, names: Sequence[str]) -> str:
    """Hex digest of the names and contents of files.

    Reading a whole set costs seconds at every start, so the digest is remembered in the cache folder under the files'
    sizes, time stamps and inodes.

    Args:
        root: Folder that the names are relative to.
        names: Relative paths; their order counts.

    Raises:
        StkdError: A file cannot be read.
    """
    state, settled = state_of(root, names)
    memo = cache_folder() / "digests" / state
    try:
        with contextlib.suppress(OSError, ValueError):
            known, check = memo.read_text("ascii").split()
            if check == _hash([known.encode()]):
                return known
        digest = _hash(part for name in names for part in (os.fsencode(name), bytes.fromhex(digest_file(root / name))))
    except OSError as error:
        raise _unreadable(error) from None
    if settled:
        with contextlib.suppress(OSError):
            memo.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(memo, f"{digest} {_hash([digest.encode()])}")
    return digest


def state_of(root: Path, names: Sequence[str]) -> tuple[str, bool]:
    """Hex digest of the places, sizes, time stamps and inodes of files, and whether all are older than `SETTLED_S`.

    Raises:
        StkdError: A file cannot be reached.
    """
    try:
        stats = [os.stat(os.path.join(root, name)) for name in names]
    except OSError as error:
        raise _unreadable(error) from None
    state = [f"{s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} {s.st_ino}" for s in stats]
    youngest = max((max(s.st_mtime, s.st_ctime) for s in stats), default=0)
    key = _hash(map(os.fsencode, [str(root.resolve()), *names, *state]))
    return key, youngest < time.time() - SETTLED_S


def digest_names(root: Path, names: Sequence[str]) -> str:
    """Hex digest of the names and sizes of files, for sets that are too large to read at every start.

    Raises:
        StkdError: A file cannot be reached.
    """
    try:
        # text is joined in a third of the time of paths, which counts with a million of files
        return _hash(os.fsencode(f"{name}\0{os.stat(os.path.join(root, name)).st_size}") for name in names)
    except OSError as error:
        raise _unreadable(error) from None


def digest_images(files: ImageFiles, *, content: bool = True) -> str:
    """Hex digest of the names of image files, and of their contents, or else of their sizes.

    Raises:
        StkdError: A file cannot be read.
    """
    digest = digest_files if content else digest_names
    if (members := files.members) is None:
        return digest(files.root, files.names)
    names, rows = _hash(map(os.fsencode, files.names)), _hash([members.rows.astype("<i8").tobytes()])
    return fingerprint(digest(members.root, members.files), names, rows)


def _hash(parts: Iterable[bytes]) -> str:
    total = blake2b(digest_size=16)
    for part in parts:
        total.update(len(part).to_bytes(8, "little"))
        total.update(part)
    return total.hexdigest()


def _unreadable(error: OSError) -> StkdError:
    return StkdError(f"{error.filename} cannot be read ({error.strerror}); check the file and its permissions")
