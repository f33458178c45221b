"""torchvision's `ImageFolder`: the files behind it, and the folder that stkd reads as the same data set."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Subset

from ..core.errors import StkdError
from .base import Part
from .datasets.folder import SPLIT_NAMES
from .image_tree import list_images
from .python_items import class_names

__all__ = ["Listed", "folder_of", "listed"]


@dataclass(frozen=True)
class Listed:
    """The image files of a data set and their labels.

    Attributes:
        pairs: The file of each image, and its label as the data set gives it.
    """

    pairs: tuple[tuple[Path, Any], ...]


def listed(source: Any) -> Listed | None:
    """The files of an `ImageFolder`, or of a part of one; None for other data sets."""
    if isinstance(source, Subset):
        whole = listed(source.dataset)
        if whole is None:
            return None
        return Listed(tuple(whole.pairs[i] for i in source.indices))
    if not _reads_files(source):
        return None
    of_label = source.target_transform or (lambda label: label)
    return Listed(tuple((Path(path), of_label(label)) for path, label in source.samples))


def _reads_files(source: Any) -> bool:
    kinds = [f"{kind.__module__}.{kind.__qualname__}" for kind in type(source).__mro__]
    if "torchvision.datasets.folder.DatasetFolder" not in kinds:
        return False
    from torchvision.datasets.folder import default_loader

    return source.loader is default_loader and type(source).__getitem__.__module__ == "torchvision.datasets.folder"


def folder_of(parts: Mapping[Part, Any]) -> Path | None:
    """The folder whose `folder:PATH` is the same data set; None where there is none.

    Args:
        parts: The data sets of the splits; one that stkd splits is all in "train".

    Raises:
        StkdError: Its classes are the folders of splits.
    """
    roots: dict[Part, Path] = {}
    for part, source in parts.items():
        if isinstance(source, Subset) or (files := listed(source)) is None:
            return None
        names = class_names(source) or ()
        if names and {name.lower() for name in names} <= set(SPLIT_NAMES):
            raise StkdError(
                f"the classes of this {type(source).__name__} are {' and '.join(names)}; give the splits apart, "
                f"{{'train': ImageFolder(.../train), ...}}, or folder:{source.root}"
            )
        root = Path(os.path.abspath(source.root))
        if not _same(root, files, names):
            return None
        roots[part] = root
    if list(roots) == ["train"]:
        return roots["train"]
    parents = {root.parent for root in roots.values()}
    if len(parents) != 1 or any(SPLIT_NAMES.get(root.name.lower()) != part for part, root in roots.items()):
        return None
    (parent,) = parents
    present = [entry.name for entry in parent.iterdir() if entry.is_dir() and entry.name.lower() in SPLIT_NAMES]
    return parent if len(present) == len(roots) else None


def _same(root: Path, files: Listed, names: tuple[str, ...]) -> bool:
    """Whether stkd finds the same files below a folder, in the same classes."""
    try:
        tree = list_images(root)
        theirs = {Path(os.path.abspath(path)): names[label] for path, label in files.pairs}
    except (StkdError, IndexError, TypeError):
        return False
    return theirs == {root / name: of for name, of in zip(tree.names, tree.classes, strict=True)}
