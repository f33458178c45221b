"""Checks of paths and options that the data sources share."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import StkdError
from .base import Request

__all__ = ["existing", "fine_only", "folder_of"]


def existing(kind: str, path: Path | None) -> Path:
    """The path of a source that needs one.

    Raises:
        StkdError: None was given, or nothing is there.
    """
    if path is None:
        raise StkdError(f"{kind} needs the place of its files; write {kind}:PATH")
    try:
        if not path.exists():
            raise StkdError(f"{kind}: {path} does not exist; check the path")
    except OSError as error:
        raise StkdError(
            f"{kind}: {path} cannot be read ({error.strerror}); check the path and its permissions"
        ) from None
    return path


def folder_of(kind: str, path: Path | None) -> Path:
    """The path of a source that reads a folder; raises as `existing`."""
    path = existing(kind, path)
    if not path.is_dir():
        raise StkdError(f"{kind}: {path} is a file; give the folder of the unpacked data set")
    return path


def fine_only(kind: str, request: Request) -> None:
    """Refuse coarse labels, for a source that has one label set."""
    if request.labels != "fine":
        raise StkdError(f"{kind} has no coarse labels; only cifar100 does")
