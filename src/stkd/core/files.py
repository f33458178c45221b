"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_file", "digest_file", "disk_full", "link_atomic", "remove_temporaries", "write_atomic"]

_TEMPORARY = ".part"


@contextlib.contextmanager
def atomic_file(path: Path, ready: Callable[[Path], object] | None = None) -> Iterator[BinaryIO]:
    """A file to write to, piece by piece; it appears under its name, and is on the disk, once all is written.

    Args:
        path: Its name.
        ready: Called with the whole file under its temporary name, before it replaces what stands at `path`.

    Raises:
        OSError: The disk is full or the folder cannot be written; what stood at `path` is untouched.
    """
    temporary = _beside(path)
    try:
        with temporary.open("xb") as file:  # with the permissions of a new file, which the user's umask decides
            yield file
            file.flush()
            os.fsync(file.fileno())
        if ready is not None:
            ready(temporary)
        temporary.replace(path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            error.filename = str(path)  # a name that the user knows
        raise


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
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)  # two names of one file are not renamed into each other


def digest_file(path: Path) -> str:
    """Hex digest of the content of a file, as `b2sum -l 128` prints it.

    Raises:
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()


def remove_temporaries(*folders: Path) -> None:
    """Delete the temporary files that `atomic_file` leaves in folders when its process is killed."""
    for folder in folders:
        for path in folder.glob(f".*{_TEMPORARY}"):
            path.unlink(missing_ok=True)


def disk_full(error: OSError) -> bool:
    """Whether a file could not be written because the disk or the quota is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
