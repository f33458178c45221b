"""Opening an exported file by its ending."""

from __future__ import annotations

from pathlib import Path

import torch

from .format import Format, Opened, exporters

__all__ = ["is_exported", "open_exported", "parts_of"]


def is_exported(path: Path) -> bool:
    """Whether a path has the ending of an exported file, or is a folder with all files of one."""
    return _format_of(path) is not None


def open_exported(file: Path) -> Opened:
    """Open an exported file, to be run with as many threads as torch has.

    Raises:
        StkdError: It is missing or damaged, was not written by stkd, or a package is missing.
    """
    format = _format_of(file)
    assert format is not None
    return format().open(file, torch.get_num_threads())


def parts_of(file: Path) -> tuple[Path, ...]:
    """The files that an exported file is made of."""
    format = _format_of(file)
    return (file,) if format is None else format.parts(file)


def _format_of(path: Path) -> type[Format] | None:
    # of two with one suffix the exact one opens both
    known = sorted((entry.value for entry in exporters.entries()), key=lambda format: not format.exact)
    if path.is_dir():
        return next((f for f in known if f.folder and all(part.is_file() for part in f.parts(path))), None)
    return next((f for f in known if f.suffix and f.suffix == path.suffix.lower()), None)
