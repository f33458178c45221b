"""Several files of a folder, replaced together: after a kill all are the old ones, or all become the new ones."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core import manifest
from ..core.files import digest_file

__all__ = ["UNFINISHED", "complete_replacement", "replaced_together"]

_WRITING, _READY = UNFINISHED = ".end-unwritten", ".end"
"""Folders that a process which is killed leaves."""


@contextmanager
def replaced_together(folder: Path) -> Iterator[Path]:
    """A folder to write files to. When it is left, they replace those of the same names in `folder`, all or none.

    One rename decides: a process that is killed before it leaves the old files, and what one that is killed after it
    has left undone, `complete_replacement` does. result.json comes last. All but the model card, which people write in,
    are entered in the folder's manifest.
    """
    writing = folder / _WRITING
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir()
    try:
        yield writing
        read_again = [file for file in writing.iterdir() if file.name != "README.md"]
        manifest.announce(folder, {file.name: digest_file(file) for file in read_again})
        writing.rename(folder / _READY)
    except BaseException:
        shutil.rmtree(writing, ignore_errors=True)
        raise
    complete_replacement(folder)


def complete_replacement(folder: Path) -> None:
    """Put the files in place that a killed process had written whole, and drop those that it had not."""
    shutil.rmtree(folder / _WRITING, ignore_errors=True)
    ready = folder / _READY
    if ready.is_dir():
        for file in sorted(ready.iterdir(), key=lambda file: (file.name == "result.json", file.name)):
            file.replace(folder / file.name)
        ready.rmdir()
