"""What the `stkd` command asks of the process that it runs in, so that training steps lose no time to the system."""

from __future__ import annotations

import ctypes
import os

__all__ = ["ASKED", "tune_process"]

ASKED = {"GOMP_SPINCOUNT": "10000"}
"""Environment variables, set unless the user has set them.

GOMP_SPINCOUNT lets a thread of libgomp, which torch computes with, wait awake for more work for about half a
millisecond. By itself it waits over ten times as long, and OpenVINO's threads, which run the teacher, find a core taken
meanwhile.
"""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt's names, from malloc.h
_KEEP = 2**31 - 1
_LARGEST = 32 * 2**20  # more is refused


def tune_process() -> None:
    """Set `ASKED`, and let malloc keep what a step frees: the next step takes it again.

    To be called before torch is imported, since libgomp reads its settings once. By itself glibc's malloc gives the
    memory of a backward pass back to the system, which has to clear each of its pages for the next one. Without glibc,
    or where the user has set one of its MALLOC_ variables or tunables, malloc stays as it is.
    """
    for name, value in ASKED.items():
        os.environ.setdefault(name, value)
    chosen = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if chosen or mallopt is None:
        return
    mallopt(_TRIM_THRESHOLD, _KEEP)
    mallopt(_MMAP_THRESHOLD, _LARGEST)
