"""Locks: one process at a time writes to a folder."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from .errors import Busy, StkdError

__all__ = ["lock_folder"]


def lock_folder(folder: Path) -> FileLock:
    """Make a folder and lock it for this process until the lock is released.

    Raises:
        Busy: Another process holds the lock.
        StkdError: The folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise Busy(f"another process is writing to {folder}; wait for it, or give another --out") from None
    except OSError as error:
        raise StkdError(f"cannot write to {folder}: {error.strerror}; give --out a directory of yours") from None
    return lock
