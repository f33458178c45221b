"""What a machine does to a command, in one line each: disks that fail, memory that is not there, killed processes."""

from __future__ import annotations

import errno
import re
from collections.abc import Collection
from traceback import walk_tb

from .files import disk_full

__all__ = ["killed_worker", "no_memory", "of_disk"]

_FAILED = {
    getattr(errno, name)
    for name in ("EIO", "ESTALE", "EROFS", "ENXIO", "ENODEV", "ETIMEDOUT", "ENOTCONN", "EREMOTEIO")
    if hasattr(errno, name)
}
"""What disks, and mounts from other machines, answer when they no longer work."""

_SMALLER = {"batch_size": "--batch-size", "image_size": "--image-size", "train_images": "--train-images"}

_ASKED = re.compile(r"(?:tried|Tried|Unable) to allocate ([\d.]+ \w+)")

_KILLED = re.compile(r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) (?:is killed by signal: ([\w ]+)|exited)")


def of_disk(error: OSError) -> str:
    """What the system said of a file, and where it is the disk's fault how to go on."""
    said = f"{error.strerror or error}"
    where = f" ({error.filename})" if error.filename else ""
    if disk_full(error):
        return f"the disk is full{where}; free some space and run the same command again: what was finished is intact"
    if error.errno in _FAILED:
        return f"the disk failed: {said}{where}; mend it and run the same command again: what was finished is intact"
    return f"{said}{where}"


def no_memory(error: BaseException, options: Collection[str]) -> str | None:
    """What to reduce, where an allocator had no memory left; None for other errors.

    Args:
        error: What a library raised.
        options: Names of the options that the command has.
    """
    said = str(error)
    if not (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (isinstance(error, RuntimeError) and re.search(r"out of memory|DefaultCPUAllocator|Cannot allocate", said))
    ):
        return None
    whose = "the GPU" if re.search(r"CUDA|HIP|MPS|XPU", said) else "this machine"
    asked = f" for another {found[1]}" if (found := _ASKED.search(said)) else ""
    smaller = [flag for name, flag in _SMALLER.items() if name in options]
    how = f"a smaller {' or '.join(smaller)}, or a smaller model" if smaller else "a smaller model, or fewer images"
    return f"{whose} has no memory left{asked}; take {how}, or end what else runs there"


def killed_worker(error: BaseException) -> str | None:
    """What to do, where a process that decodes images was killed; None for other errors."""
    found = _KILLED.search(str(error)) if isinstance(error, RuntimeError) else None
    if found is None and not _connection_of_loader(error):
        return None
    if found and found[1] == "Bus error":
        why, how = "shared memory (/dev/shm) is full", "make it larger (docker run --shm-size), or give --workers 0"
    else:
        why, how = "as the system does where memory runs out", "take fewer --workers or a smaller --batch-size"
    return f"a process that decodes images was killed, {why}; {how}, and run the same command again to go on"


def _connection_of_loader(error: BaseException) -> bool:
    """Whether a connection to a process of a DataLoader broke, as it does where it is killed while it sends."""
    frames = walk_tb(error.__traceback__) if isinstance(error, ConnectionError | EOFError) else ()
    return any(frame.f_globals.get("__name__") == "torch.utils.data.dataloader" for frame, _ in frames)
