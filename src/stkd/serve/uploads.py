"""Which files a request to the page may name: those that were uploaded to it, and its own examples."""

from __future__ import annotations

import atexit
import os
import shutil
import stat
import tempfile
from pathlib import Path

from ..core.errors import StkdError

__all__ = ["LARGEST", "own_cache", "uploaded"]

LARGEST = 16 << 20
"""Bytes of the largest file that is read."""


def own_cache() -> Path:
    """Give Gradio a cache folder that belongs to this process alone; it is deleted when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="stkd-explore-")).resolve()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # the only way to tell Gradio
    return folder


def uploaded(path: str, cache: Path) -> str:
    """The resolved path of a file in the page's cache.

    A request names files by their paths, so that it could name any.

    Args:
        path: As the request names it.
        cache: Folder that uploads and examples lie in.

    Raises:
        StkdError: It is outside, no regular file, or too large.
    """
    refused = StkdError("only files that were uploaded to this page, and its examples, can be shown")
    try:
        resolved = Path(path).resolve(strict=True)
        status = resolved.stat()
    except (OSError, ValueError, RuntimeError):  # missing, a null character, a loop of links
        raise refused from None
    if not resolved.is_relative_to(cache.resolve()) or not stat.S_ISREG(status.st_mode):
        raise refused
    if status.st_size > LARGEST:
        raise StkdError(f"the file is larger than {LARGEST >> 20} MB")
    return str(resolved)
