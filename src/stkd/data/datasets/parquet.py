"""The user's own images in Parquet files, as Hugging Face data sets are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...core.errors import StkdError
from ..base import DataSet, Part, Request, sources
from ..broken_files import broken_files
from ..class_list import class_list
from ..image_tree import BROKEN
from ..request_checks import existing
from ..shards import Samples, find_shards, open_samples


@sources.register("parquet", "a Hugging Face data set in a folder: PATH/train-*.parquet with columns image and label")
def parquet(path: Path | None, request: Request) -> DataSet:
    """Images in Parquet files. They are unpacked once, into one file of the cache, and each is read at its place there.

    - PATH is a folder of .parquet files, or one of them. The name of a file, or of a folder that it lies in, says its
      split (`train-00000-of-00002.parquet`, `validation/0.parquet`), by one of the `SPLIT_NAMES` of `folder`.
    - The column of images holds the content of image files, as binary or as a struct {bytes, path}, and that of labels
      a number or a name. `PATH:image=NAME,label=NAME` chooses them. A null, and -1, is an unlabelled training image.
    - The names of numbers are those of the `ClassLabel` that `datasets` wrote into the files, into dataset_info.json or
      README.md, or the lines of classes.txt.

    All else is as for `folder`.
    """
    path, asked = _chosen(path)
    place = existing("parquet", path)
    try:
        from ..parquet_files import columns_of, unpack
    except ImportError:
        raise StkdError("Parquet files need the package pyarrow: pip install 'stkd[parquet]'") from None
    shards = find_shards("parquet", place, ".parquet")
    columns = columns_of(shards.root, shards.files, asked, coarse=request.labels == "coarse")
    unpacked = unpack(shards.root, shards.files, columns)
    parts: dict[Part, Samples] = {}
    problems: dict[str, str] = {}
    labels, before = dict(zip(shards.files, unpacked.labels, strict=True)), 0
    for part, files in shards.parts.items():
        names = [f"{file}/{row}" for file in files for row in range(len(labels[file]))]
        known = [label for file in files for label in labels[file]]
        rows = unpacked.rows[before : before + len(names)]
        before += len(names)
        empty = [names[row] for row in np.flatnonzero(rows[:, 1] == 0)]
        problems |= dict.fromkeys(empty, "has no image in its row")
        kept = np.flatnonzero(rows[:, 1]).tolist()
        parts[part] = Samples(
            [names[row] for row in kept],
            [known[row] for row in kept],
            np.insert(rows[kept], 0, 0, axis=1),
            {BROKEN: tuple(empty)} if empty else {},
        )
    if problems and not request.skip_bad:
        raise broken_files(shards.root, problems)
    classes = columns.classes or class_list(shards.root, (columns.label,))
    where = unpacked.file
    return open_samples("parquet", shards, parts, request, place=where.parent, files=(where.name,), classes=classes)


def _chosen(path: Path | None) -> tuple[Path | None, dict[str, str]]:
    """The path, and the columns that are named behind it: `PATH:image=NAME,label=NAME`."""
    place, colon, rest = str(path or "").rpartition(":")
    pairs = dict(item.partition("=")[::2] for item in rest.split(","))
    if not colon or not set(pairs) <= {"image", "label"} or not all(pairs.values()):
        return path, {}
    return Path(place), pairs
