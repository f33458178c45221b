"""The image files that paths, folders and patterns name, for a command that takes any of them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..core.errors import StkdError
from .decode import image_suffixes
from .image_tree import JUNK_FOLDERS

__all__ = ["image_paths"]

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def image_paths(names: Iterable[str | Path]) -> list[Path]:
    """The files behind some names, in the order of the names and sorted within each.

    A folder stands for all images below it, told by their endings; hidden files and the folders that archivers leave
    behind are passed over. A name with `*`, `?` or `[` that is no path itself is a pattern; `**` stands for any number
    of folders. Any other name is kept as it is, also where there is no such file.

    Raises:
        StkdError: A name is a web address, a folder without images, or a pattern that nothing matches.
    """
    return [path for name in names for path in _behind(name)]


def _behind(name: str | Path) -> list[Path]:
    if _ADDRESS.match(str(name)):
        raise StkdError(f"{name} is a web address, and stkd fetches nothing; download it first and give the file")
    path = Path(name)
    if path.is_dir():
        return _below(path)
    if not os.path.lexists(path) and glob.has_magic(str(name)):
        found = sorted(Path(match) for match in glob.glob(str(name), recursive=True))
        images = [image for match in found for image in (_below(match) if match.is_dir() else [match])]
        if not images:
            raise StkdError(f"no file matches {name}; check the pattern and the folder that it starts in")
        return list(dict.fromkeys(images))  # `**` matches a folder and what is in it
    return [path]


def _below(folder: Path) -> list[Path]:
    images = sorted(_visit(folder, set()))
    if not images:
        raise StkdError(f"{folder} has no images; give image files, or a folder of images such as .jpg or .png")
    return images


def _visit(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """Images below a folder; one that links lead to twice is visited once."""
    try:
        stat = os.stat(folder)
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise StkdError(f"{folder} cannot be read ({error.strerror}); check its permissions") from None
    if (stat.st_dev, stat.st_ino) in seen:
        return
    seen.add((stat.st_dev, stat.st_ino))
    for entry in entries:
        if entry.is_dir():
            if entry.name.lower() not in JUNK_FOLDERS:
                yield from _visit(Path(entry.path), seen)
        elif os.path.splitext(entry.name)[1].lower() in image_suffixes():
            yield Path(entry.path)
