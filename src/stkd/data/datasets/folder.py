"""The user's own images, in folders named after their classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ...core.errors import StkdError
from ..base import DataSet, Part, Request, sources
from ..decode import pixel_size
from ..decoded_cache import cached
from ..digest import digest_files, fingerprint
from ..folder_layout import open_trees
from ..image_tree import list_images
from ..request_checks import fine_only, folder_of

DEFAULT_SIZE = 224
SMALL = 64

SPLIT_NAMES: dict[str, Part] = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@sources.register("folder", "your own images: PATH/train/CLASS/*.jpg and PATH/val or PATH/test, or PATH/CLASS/*.jpg")
def folder(path: Path | None, request: Request) -> DataSet:
    """Images of any size and format in folders of classes.

    - PATH may hold `train` and `val` (or `valid`, `validation`) or `test` or both; what else it holds is then passed
      over. With train and val alone, val serves as test split. With train alone, a part of it is drawn.
    - Otherwise PATH is one tree, of which a stratified part becomes the test split.
    - A class is a folder that directly holds images, by its path: `cat`, or `animals/cat`.
    - Images directly in `train` (or PATH) have no class: they are unlabelled training images.
    - Images become RGB squares of 224 pixels: shorter side resized, centre cropped; transparency on white. Where all
      are equal squares of at most 64 pixels, they keep their size.
    - Sets that take more than 2 GiB so stay on disk, are decoded during training and get ImageNet's mean and std.
    """
    fine_only("folder", request)
    root = folder_of("folder", path)
    folders = _splits(root) or {"train": ""}
    trees = {part: list_images(root, name) for part, name in folders.items()}
    size = request.image_size or _size(root, [name for tree in trees.values() for name in tree.names])
    return open_trees("folder", root, trees, size, request)


def _splits(root: Path) -> dict[Part, str]:
    """The split folders in the root, none where it is one tree."""
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.name.lower() in SPLIT_NAMES and entry.is_dir())
    except OSError as error:
        raise StkdError(f"{root} cannot be read ({error.strerror}); check the folder and its permissions") from None
    folders: dict[Part, str] = {}
    for name in names:
        part = SPLIT_NAMES[name.lower()]
        if part in folders:
            raise StkdError(f"{root} has both {folders[part]} and {name}; keep one of them")
        folders[part] = name
    if folders and "train" not in folders:
        first = next(iter(folders.values()))
        raise StkdError(f"{root} has {first} but no train; add it, or write folder:{root / first} to split that folder")
    return {part: folders[part] for part in ("train", "val", "test") if part in folders}


def _size(root: Path, names: Sequence[str]) -> int:
    """The images' own side where all are equal small squares, otherwise the default."""
    first = pixel_size(root / names[0])
    if first is None or first[0] != first[1] or not 8 <= first[0] <= SMALL:
        return DEFAULT_SIZE

    def all_equal() -> bool:
        return all(pixel_size(root / name) == first for name in names)

    key = fingerprint(digest_files(root, names), question="all equal")
    stored = cached(key, ("equal",), lambda: {"equal": np.array([all_equal()])})
    return first[0] if stored["equal"][0] else DEFAULT_SIZE
