"""Images in a tree of folders: listed, and decoded into one stored array."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from ..core.errors import StkdError
from .base import ImageFiles, unusual
from .broken_files import broken_files, find_broken
from .decode import BrokenImage, decode_square, image_suffixes
from .decoded_cache import cached
from .digest import digest_images, fingerprint
from .image_arrays import STORE_LIMIT

__all__ = ["BROKEN", "ImageTree", "Left", "broken_to_drop", "list_images", "load_images", "why_folder_left", "why_left"]

Left = Mapping[str, tuple[str, ...]]
"""Names of files and folders that are not taken, by the reason in words."""

BROKEN = "broken"
"""The reason of files that cannot be decoded."""

JUNK_FOLDERS = {"__macosx", "@eadir", "$recycle.bin", "system volume information"}
"""Folders that archivers, storage boxes and Windows leave behind; some hold thumbnails."""

HEIC = {".heic", ".heics", ".heif", ".heifs", ".hif"}

DECODER = 3
"""Raised when `decode_square` gives other pixels than before, so that old cache entries are not used."""


@dataclass(frozen=True)
class ImageTree:
    """The images below a folder of the data set.

    Attributes:
        folder: Its path relative to the data set's root, "" for the root itself.
        names: Sorted paths of the images relative to the data set's root, with slashes.
        classes: The folder inside the tree that is each image's class; None for an image in no folder.
        folders: Number of images of each class folder, 0 for one without.
        left: What else is below the folder.
    """

    folder: str
    names: tuple[str, ...]
    classes: tuple[str | None, ...]
    folders: Mapping[str, int]
    left: Left


def list_images(root: Path, folder: str = "", *, nested: bool = False, skip_bad: bool = False) -> ImageTree:
    """Find the images below a folder.

    An image directly in a folder that has class folders is in none of them, and is left out.

    Args:
        root: Folder of the data set.
        folder: Folder inside it, "" for itself.
        nested: Whether a class is the folder that directly holds an image, however deep; otherwise it is the first
            folder on the way to it.
        skip_bad: Whether broken links are left out.

    Raises:
        StkdError: There is no image, a link is broken or leads back to its own parent, or a folder cannot be read.
    """
    prefix = f"{folder}/" if folder else ""
    found = _Found()
    found.visit(root / folder, prefix, ())
    if found.links and not skip_bad:
        raise broken_files(root, dict.fromkeys(sorted(found.links), "is a broken link"))
    found.left[BROKEN] += found.links
    if not found.names:
        raise StkdError(
            f"{root / folder} has no images{_seen(found.left)}; give a folder of images such as .jpg or .png"
        )
    names, start = sorted(found.names), len(prefix)
    classes = [_class_of(name[start:], nested) for name in names]
    if None in classes and any(classes):
        direct = [name for name, own in zip(names, classes, strict=True) if own is None]
        found.left["directly in the split, in no class folder"] += direct
        names = [name for name, own in zip(names, classes, strict=True) if own is not None]
        classes = [own for own in classes if own is not None]
    folders = dict.fromkeys(sorted(_class_of(f"{name[start:]}/", nested) or "" for name in found.folders(nested)), 0)
    folders |= Counter(own for own in classes if own is not None)
    left = {reason: tuple(sorted(some)) for reason, some in sorted(found.left.items()) if some}
    return ImageTree(folder, tuple(names), tuple(classes), folders, left)


def why_left(name: str, suffixes: frozenset[str]) -> str | None:
    """Why a file is not taken, judged by its name; None for an image.

    Args:
        name: Of the file.
        suffixes: Those of images.
    """
    if name.startswith("."):
        return "hidden"
    suffix = os.path.splitext(name)[1].lower()
    if suffix in suffixes:
        return None
    if suffix in HEIC:
        return "HEIC needs `pip install 'stkd[heic]'`"
    if suffix in (".avif", ".avifs"):
        return "AVIF needs `pip install 'pillow>=11.3'`"
    return f"not an image type that is read ({suffix})" if suffix else "no ending"


def _stored(files: ImageFiles) -> bool:
    """Whether a set is small enough to be kept as one array of squares."""
    return len(files) * files.channels * files.size * files.size <= STORE_LIMIT


def broken_to_drop(files: ImageFiles) -> frozenset[str]:
    """Names of the files that cannot be decoded, where they are to be passed over.

    All are tried once, and the cache remembers it. Of sets that stay on disk none is: theirs are seen in training.

    Raises:
        StkdError: A file cannot be read.
    """
    if not files.skip_bad or not _stored(files):
        return frozenset()
    key = fingerprint(digest_images(files), decoder=DECODER, question="broken")
    rows = {name: row for row, name in enumerate(files.names)}

    def find() -> dict[str, NDArray[Any]]:
        return {"broken": np.array([rows[name] for name in find_broken(files)], np.int64)}

    return frozenset(files.names[row] for row in cached(key, ("broken",), find)["broken"].tolist())


def load_images(files: ImageFiles) -> tuple[NDArray[np.uint8] | ImageFiles, str]:
    """Decode image files into one stored array, or leave them on disk where that would be larger than `STORE_LIMIT`.

    Args:
        files: The files, and the squares that are wanted of them.

    Returns:
        uint8 (N, channels, size, size), memory-mapped from the cache, or the files; and the digest of the content
        (of names and sizes only, where the images stay on disk).

    Raises:
        StkdError: Files cannot be read or decoded; it names all of them.
    """
    if not _stored(files):
        return files, digest_images(files, content=False)
    digest = digest_images(files)
    view = unusual(files.crop_pct, files.interpolation)
    key = fingerprint(digest, decoder=DECODER, channels=files.channels, size=files.size, **view)
    return cached(key, ("images",), lambda: {"images": _decode_all(files)})["images"], digest


def _decode_all(files: ImageFiles) -> NDArray[np.uint8]:
    out = np.empty((len(files), files.channels, files.size, files.size), np.uint8)
    view = (files.channels, files.size, files.crop_pct, files.interpolation)

    def fill(position: int) -> str | None:
        try:
            out[position] = decode_square(files[position], *view).numpy()
        except BrokenImage as error:
            return error.reason
        return None

    with ThreadPoolExecutor(cpu_count()) as pool:
        reasons = pool.map(fill, range(len(files)))
        broken = {name: reason for name, reason in zip(files.names, reasons, strict=True) if reason is not None}
    if broken:
        raise broken_files(files.root, broken)
    return out


class _Found:
    """What a walk through folders comes upon.

    Attributes:
        names: Images.
        left: Other files and folders, by the reason.
        links: Broken links.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.left: defaultdict[str, list[str]] = defaultdict(list)
        self.links: list[str] = []
        self._first: list[str] = []
        self._ends: list[str] = []
        self._suffixes = image_suffixes()

    def folders(self, nested: bool) -> list[str]:
        """Folders that are classes, with images or without: the first ones, or those without further folders."""
        return self._ends if nested else self._first

    def visit(self, folder: Path, prefix: str, above: tuple[tuple[int, int], ...]) -> None:
        """Walk through a folder and those inside it.

        Raises:
            StkdError: A link leads back to a folder above it, or a folder cannot be read.
        """
        folders: list[os.DirEntry[str]] = []
        try:
            stat = os.stat(folder)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir():
                        folders.append(entry)
                    elif entry.is_file():
                        self._note(entry, prefix)
                    elif entry.is_symlink() and not entry.name.startswith("."):
                        self.links.append(prefix + entry.name)
        except OSError as error:
            place = error.filename or folder
            raise StkdError(f"{place} cannot be read ({error.strerror}); check its permissions or remove it") from None
        here = (stat.st_dev, stat.st_ino)
        if here in above:
            raise StkdError(f"{folder} is a link that leads back to a folder above it; remove the link")
        inside = [entry for entry in folders if not self._junk(entry.name, prefix)]
        if above and not inside:
            self._ends.append(prefix.rstrip("/"))
        for entry in sorted(inside, key=lambda e: e.name):
            if not above:
                self._first.append(prefix + entry.name)
            self.visit(Path(entry.path), f"{prefix}{entry.name}/", (*above, here))

    def _note(self, entry: os.DirEntry[str], prefix: str) -> None:
        reason = why_left(entry.name, self._suffixes)
        if reason is None and entry.stat().st_size == 0:
            reason = "zero bytes"
        (self.names if reason is None else self.left[reason]).append(prefix + entry.name)

    def _junk(self, name: str, prefix: str) -> bool:
        reason = why_folder_left(name)
        if reason is not None:
            self.left[reason].append(prefix + name)
        return reason is not None


def why_folder_left(name: str) -> str | None:
    """Why a folder is not looked into, judged by its name."""
    if name.lower() in JUNK_FOLDERS:
        return "left by an archiver or a storage system"
    return "hidden" if name.startswith(".") else None


def _seen(left: Mapping[str, Sequence[str]]) -> str:
    """The other files, for a message."""
    most = sorted((item for item in left.items() if item[1]), key=lambda item: -len(item[1]))[:3]
    return f" (left out: {', '.join(f'{len(names)} {reason}' for reason, names in most)})" if most else ""


def _class_of(name: str, nested: bool) -> str | None:
    """The class folder of a path inside a tree; None for one directly in it."""
    folder = name.rpartition("/")[0] if nested else name.partition("/")[0] if "/" in name else ""
    return folder or None
