"""The user's own images, in folders named after their classes."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from ...core.errors import StkdError
from ..base import DataSet, Part, Request, sources
from ..decode import image_suffixes
from ..folder_layout import open_trees
from ..image_tree import ImageTree, list_images, why_folder_left, why_left
from ..request_checks import fine_only, folder_of

SPLIT_NAMES: dict[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}


@sources.register("folder", "your own images: PATH/train/CLASS/*.jpg and PATH/val or PATH/test, or PATH/CLASS/*.jpg")
def folder(path: Path | None, request: Request) -> DataSet:
    """Images of any size and format in folders of classes.

    - PATH may hold `train` and `val` or `test` or both, by one of their `SPLIT_NAMES`; what else it holds is then
      listed as left out. With train and val alone, val serves as test split. With train alone, a part of it is drawn.
    - Otherwise PATH is one tree, of which a stratified part becomes the test split.
    - A class is a first folder, whatever folders are inside it; with `nested` each folder that directly holds images
      is a class, by its path: `cat`, or `animals/cat`.
    - Where all images lie directly in `train` (or PATH) they have no class: they are unlabelled training images.
    - Images become RGB squares of 224 pixels: shorter side resized, centre cropped; transparency on white. Where all
      are equal squares of at most 64 pixels, they keep their size.
    - Sets that take more than 2 GiB so stay on disk, are decoded during training and get ImageNet's mean and std.
    """
    fine_only("folder", request)
    root = folder_of("folder", path)
    top = _Top(root)
    folders = top.splits()
    options = {"nested": request.nested, "skip_bad": request.skip_bad}
    trees = {part: list_images(root, name, **options) for part, name in (folders or {"train": ""}).items()}
    if not folders:
        _refuse_splits_inside(root, trees["train"])
    return open_trees("folder", root, trees, request.image_size, request, top.beside(folders))


@dataclass
class _Top:
    """What lies directly in the folder of a data set.

    Attributes:
        root: That folder.
        folders, files: Names, sorted.
    """

    root: Path
    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            with os.scandir(self.root) as entries:
                for entry in sorted(entries, key=lambda e: e.name):
                    (self.folders if entry.is_dir() else self.files).append(entry.name)
        except OSError as error:
            place = error.filename or self.root
            raise StkdError(f"{place} cannot be read ({error.strerror}); check its permissions or remove it") from None

    def splits(self) -> dict[Part, str]:
        """The split folders, none where the root is one tree."""
        names = [name for name in self.folders if name.lower() in SPLIT_NAMES]
        if len(names) == 1 and self._is_class(names[0]):
            return {}
        folders: dict[Part, str] = {}
        for name in names:
            part = SPLIT_NAMES[name.lower()]
            if part in folders:
                raise StkdError(f"{self.root} has both {folders[part]} and {name}; keep one of them")
            folders[part] = name
        if folders and "train" not in folders:
            first = next(iter(folders.values()))
            raise StkdError(
                f"{self.root} has {first} but no train; add it, or write folder:{self.root / first} to split that "
                "folder"
            )
        return {part: folders[part] for part in ("train", "val", "test") if part in folders}

    def _is_class(self, name: str) -> bool:
        """Whether a folder that is called as a split is a class: it holds images as others beside it do."""
        others = [other for other in self.folders if other != name and why_folder_left(other) is None]
        return _holds_images_alone(self.root / name) and any(_holds_images_alone(self.root / o) for o in others)

    def beside(self, folders: dict[Part, str]) -> dict[str, tuple[str, ...]]:
        """What lies beside the split folders, by the reason why it is not taken."""
        if not folders:
            return {}
        suffixes = image_suffixes()
        left: defaultdict[str, list[str]] = defaultdict(list)
        for name in self.folders:
            if name not in folders.values():
                left[why_folder_left(name) or "in no split folder"].append(name)
        for name in self.files:
            left[why_left(name, suffixes) or "in no split folder"].append(name)
        return {reason: tuple(names) for reason, names in left.items()}


def _holds_images_alone(folder: Path) -> bool:
    """Whether a folder holds images and no folders."""
    suffixes, images = image_suffixes(), False
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    if why_folder_left(entry.name) is None:
                        return False
                elif not images:
                    images = why_left(entry.name, suffixes) is None
    except OSError:
        return False  # listing it will say so
    return images


def _refuse_splits_inside(root: Path, tree: ImageTree) -> None:
    """Refuse a folder whose classes hold the splits, or that holds the folder of the data set.

    Raises:
        StkdError: It is one.
    """
    inside: defaultdict[str, set[str]] = defaultdict(set)
    for name in tree.names:
        first, _, rest = name.partition("/")
        inside[first].add(rest.partition("/")[0] if "/" in rest else "")
    split = {c: found for c, found in inside.items() if all(f.lower() in SPLIT_NAMES for f in found)}
    if not any(SPLIT_NAMES[f.lower()] == "train" for found in split.values() for f in found):
        return
    if len(inside) == 1:
        raise StkdError(f"{root} holds the data set in {next(iter(inside))}; write folder:{root / next(iter(inside))}")
    if len(split) == len(inside):
        example = next(name for name in tree.names)
        raise StkdError(
            f"{root} is laid out as PATH/CLASS/SPLIT/*.jpg ({example}), but PATH/SPLIT/CLASS/*.jpg is wanted; move "
            "the split folders to the top and the class folders into them"
        )
