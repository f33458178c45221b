"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, which deletes no file that a process has open
    fcntl = None  # type: ignore[assignment]

__all__ = ["atomic_file", "digest_file", "disk_full", "link_atomic", "remove_temporaries", "write_atomic"]

_TEMPORARY = ".part"


@contextlib.contextmanager
def atomic_file(path: Path, ready: Callable[[Path], object] | None = None) -> Iterator[BinaryIO]:
    """A file to write to, piece by piece; it appears under its name, and is on the disk, once all is written.

    What a process that was killed has left of an earlier attempt goes.

    Args:
        path: Its name.
        ready: Called with the whole file under its temporary name, before it replaces what stands at `path`.

    Raises:
        OSError: The disk is full or the folder cannot be written; what stood at `path` is untouched.
    """
    remove_temporaries(path.parent, glob.escape(path.name))
    temporary = _beside(path)
    try:
        with _created(temporary) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if ready is not None:
            ready(temporary)
        _replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)  # a name that the user knows
        raise


def _created(temporary: Path) -> BinaryIO:
    """A new file; while it is open here, nobody else takes it for one that was left."""
    while True:
        file = temporary.open("xb")  # with the permissions of a new file, which the user's umask decides
        if fcntl is None:
            return file
        with contextlib.suppress(OSError):  # some file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:  # else another process removed it before it was locked
            return file
        file.close()


def _replace(source: Path, path: Path) -> None:
    """Rename over a file; Windows refuses it while somebody reads that file, which mostly passes."""
    for seconds in _PATIENCE:
        try:
            source.replace(path)
        except PermissionError:
            time.sleep(seconds)
        else:
            return
    source.replace(path)


_PATIENCE = (0.05, 0.2, 1.0) if os.name == "nt" else ()


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file whole, or leave what stood there.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def link_atomic(source: Path, path: Path) -> None:
    """Give a file a second name, whole or not at all; a copy of it where the file system has no links.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    temporary = _beside(path)
    try:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
        _replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)  # two names of one file are not renamed into each other


def digest_file(path: Path) -> str:
    """Hex digest of the content of a file, as `b2sum -l 128` prints it.

    Raises:
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()


def remove_temporaries(folder: Path, names: str = "*") -> None:
    """Delete the temporary files that processes left which were killed in `atomic_file`; not those of living ones.

    Args:
        folder: Where they lie.
        names: Pattern of the names of the files that they were to become.
    """
    for path in folder.glob(f".{names}.*{_TEMPORARY}"):
        with contextlib.suppress(OSError):
            if fcntl is None:
                path.unlink()
                continue
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def disk_full(error: OSError) -> bool:
    """Whether a file could not be written because the disk or the quota is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
