"""Writing files whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["atomic_file", "disk_full", "remove_temporaries", "write_atomic"]

_TEMPORARY = ".part"


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, piece by piece; it appears under its name, and is on the disk, once all is written.

    Raises:
        OSError: The disk is full or the folder cannot be written; what stood at `path` is untouched.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{_TEMPORARY}")
    try:
        with temporary.open("xb") as file:  # with the permissions of a new file, which the user's umask decides
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write a file whole, or leave what stood there.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_temporaries(*folders: Path) -> None:
    """Delete the temporary files that `atomic_file` leaves in folders when its process is killed."""
    for folder in folders:
        for path in folder.glob(f".*{_TEMPORARY}"):
            path.unlink(missing_ok=True)


def disk_full(error: OSError) -> bool:
    """Whether a file could not be written because the disk or the quota is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
