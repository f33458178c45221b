"""Images in a tree of folders: listed, and decoded into one stored array."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import StkdError
from .base import ImageFiles
from .decode import decode_square, image_suffixes
from .decoded_cache import cached
from .digest import digest_files, digest_names, fingerprint
from .image_arrays import STORE_LIMIT

__all__ = ["ImageTree", "list_images", "load_images"]

JUNK_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information"}
"""Folders that archivers, storage boxes and Windows leave behind; some hold thumbnails."""

DECODER = 2
"""Raised when `decode_square` gives other pixels than before, so that old cache entries are not used."""


@dataclass(frozen=True)
class ImageTree:
    """The images below a folder of the data set.

    Attributes:
        names: Sorted paths relative to the data set's root, with slashes.
        classes: For each, the path, relative to the folder, of the folder that directly holds it; None for the folder.
    """

    names: tuple[str, ...]
    classes: tuple[str | None, ...]


def list_images(root: Path, folder: str = "") -> ImageTree:
    """Find the images below a folder; hidden files and files of other kinds are ignored.

    Args:
        root: Folder of the data set.
        folder: Folder inside it, "" for itself.

    Raises:
        StkdError: A folder has none, a link is broken or leads back to its own parent, or a folder cannot be read.
    """
    names: list[str] = []
    others: Counter[str] = Counter()
    prefix = f"{folder}/" if folder else ""
    _visit(root / folder, prefix, (), names, others)
    if not names:
        raise StkdError(f"{root / folder} has no images{_seen(others)}; give a folder of images such as .jpg or .png")
    names.sort()
    return ImageTree(tuple(names), tuple(_class_name(name.removeprefix(prefix)) for name in names))


def load_images(
    root: Path, names: Sequence[str], size: int, channels: int = 3
) -> tuple[NDArray[np.uint8] | ImageFiles, str]:
    """Decode image files into one stored array, or leave them on disk where that would be larger than `STORE_LIMIT`.

    Args:
        root: Folder that the names are relative to.
        names: Relative paths.
        size: Side in pixels of the squares: shorter side resized, centre cropped.
        channels: 1 or 3.

    Returns:
        uint8 (N, channels, size, size), memory-mapped from the cache, or the files; and the digest of the content
        (of names and sizes only, where the images stay on disk).

    Raises:
        StkdError: A file cannot be read or decoded.
    """
    files = ImageFiles(root, tuple(names), channels, size)
    if len(names) * channels * size * size > STORE_LIMIT:
        return files, digest_names(root, names)
    digest = digest_files(root, names)
    key = fingerprint(digest, decoder=DECODER, channels=channels, size=size)
    return cached(key, ("images",), lambda: {"images": _decode_all(files)})["images"], digest


def _decode_all(files: ImageFiles) -> NDArray[np.uint8]:
    out = np.empty((len(files), files.channels, files.size, files.size), np.uint8)

    def fill(position: int) -> None:
        out[position] = decode_square(files.root / files.names[position], files.channels, files.size).numpy()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for _ in pool.map(fill, range(len(files))):
            pass
    return out


def _visit(
    folder: Path, prefix: str, above: tuple[tuple[int, int], ...], names: list[str], others: Counter[str]
) -> None:
    """Add the images below `folder` to `names`, and count the endings of the other files."""
    try:
        stat = os.stat(folder)
        with os.scandir(folder) as entries:
            visible = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
        folders = [e for e in visible if e.is_dir()]
        files = [e for e in visible if e.is_file()]
        broken = [e for e in visible if e.is_symlink() and not (e.is_dir() or e.is_file())]
    except OSError as error:
        place = error.filename or folder
        raise StkdError(f"{place} cannot be read ({error.strerror}); check its permissions or remove it") from None
    if broken:
        raise StkdError(f"{broken[0].path} is a broken link; mend or remove it")
    here = (stat.st_dev, stat.st_ino)
    if here in above:
        raise StkdError(f"{folder} is a link that leads back to a folder above it; remove the link")
    suffixes, before = image_suffixes(), len(names)
    for entry in files:
        suffix = os.path.splitext(entry.name)[1].lower()
        if suffix in suffixes:
            names.append(prefix + entry.name)
        else:
            others[suffix or "without an ending"] += 1
    for entry in folders:
        if entry.name.lower() not in JUNK_FOLDERS:
            _visit(Path(entry.path), f"{prefix}{entry.name}/", (*above, here), names, others)
    if above and len(names) == before:
        raise StkdError(f"the folder {folder} has no images{_seen(others)}; add some or remove it")


def _seen(others: Counter[str]) -> str:
    """The other files, for a message."""
    return f" (files found: {', '.join(f'{n} {suffix}' for suffix, n in others.most_common(3))})" if others else ""


def _class_name(name: str) -> str | None:
    """The folder part of a relative path, in one spelling of its accents, and printable whatever its bytes."""
    folder = name.rpartition("/")[0]
    text = os.fsencode(folder).decode("utf-8", "backslashreplace")
    return unicodedata.normalize("NFC", text) or None
