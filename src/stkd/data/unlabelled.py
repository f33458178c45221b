"""Images without labels beside labelled ones, for a teacher alone to teach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..core.errors import StkdError
from .base import UNLABELLED, DataSet, ImageFiles, Split
from .digest import digest_images, fingerprint
from .image_paths import image_paths
from .image_tree import broken_to_drop, load_images
from .members import Members
from .splits import take

__all__ = ["with_unlabelled"]


def with_unlabelled(data: DataSet, folder: Path, *, skip_bad: bool = False) -> DataSet:
    """A data set whose training images are the labelled ones and, behind them, those without a label.

    Args:
        data: The data set; its own unlabelled training images come first among those.
        folder: Of images, in any folders inside it.
        skip_bad: Leave out files that cannot be decoded.

    Raises:
        StkdError: The folder has no images, some are those of the data set, or no training image has a label.
    """
    if not folder.is_dir():
        raise StkdError(f"unlabelled: {folder} is no folder; give one of images such as .jpg or .png")
    train = data.train
    order = np.argsort(train.labels == UNLABELLED, kind="stable")
    if train.labels[order[0]] == UNLABELLED:
        raise StkdError(f"{data.name} has no labelled training image for --unlabelled to go beside; leave it out")
    if (order != np.arange(len(train))).any():
        train = take(train, order)
    paths = image_paths([folder])
    _refuse_own(data, paths)
    names = tuple(path.relative_to(folder).as_posix() for path in paths)
    files = ImageFiles(folder, names, data.channels, data.size, data.crop_pct, data.interpolation, skip_bad)
    if broken := broken_to_drop(files):
        files = files.take([row for row, name in enumerate(names) if name not in broken])
    if not len(files):
        raise StkdError(f"unlabelled: no image of {folder} can be decoded; replace the files")
    both = _joined(train, files)
    content = not isinstance(both.images, ImageFiles)
    mark = fingerprint(data.fingerprint, unlabelled=digest_images(files, content=content))
    return replace(data, train=both, fingerprint=mark)


def _joined(train: Split, files: ImageFiles) -> Split:
    labels = np.concatenate([train.labels, np.full(len(files), UNLABELLED)])
    if train.files is not None:
        both = _behind(train.files, files)
        images, _ = load_images(both)
        return Split(images, labels, None if isinstance(images, ImageFiles) else both)
    images, _ = load_images(files)
    if isinstance(images, ImageFiles):
        raise StkdError(
            f"{len(files):,} unlabelled images do not fit into memory beside images that are no files; give fewer, or "
            "a smaller --image-size"
        )
    return Split(np.concatenate([np.asarray(train.images), images]), labels)


def _behind(own: ImageFiles, files: ImageFiles) -> ImageFiles:
    """The files of both, each of the others by its absolute path."""
    paths = [(files.root / name).absolute() for name in files.names]
    names, members = tuple(path.as_posix() for path in paths), own.members
    if members is not None:
        first = len(members.files)
        rows = [(first + number, 0, path.stat().st_size) for number, path in enumerate(paths)]
        places = np.concatenate([members.rows, np.array(rows, np.int64)])
        members = Members(members.root, members.files + names, places)
    return replace(own, names=own.names + names, members=members, skip_bad=files.skip_bad)


def _refuse_own(data: DataSet, paths: list[Path]) -> None:
    """Refuse images of the data set itself, which may be those of its test split.

    Raises:
        StkdError: One is.
    """
    splits = [split.files for split in (data.train, data.val, data.test) if split is not None]
    own = {(f.root / name).absolute() for f in splits if f is not None and f.members is None for name in f.names}
    if both := [path for path in paths if path.absolute() in own]:
        raise StkdError(
            f"unlabelled: {len(both):,} of {len(paths):,} images are images of the data set itself, such as {both[0]}; "
            "give a folder of other images"
        )
