"""The user's own images in tar shards, as WebDataset has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..base import DataSet, Part, Request, sources
from ..broken_files import broken_files
from ..class_list import class_list
from ..image_tree import BROKEN
from ..request_checks import existing, fine_only
from ..shards import Samples, find_shards, open_samples
from ..tar_index import LABEL_FIELDS, index_tars


@sources.register(
    "webdataset", "your own images in tar shards: PATH/train-*.tar with KEY.jpg beside KEY.cls or KEY.json"
)
def webdataset(path: Path | None, request: Request) -> DataSet:
    """Images in tar files. Nothing is unpacked: each is read at its place.

    - PATH is a folder of .tar files, or one of them. The name of a file, or of a folder that it lies in, says its split
      (`train-000001.tar`, `val/7.tar`), by one of the `SPLIT_NAMES` of `folder`.
    - A sample is KEY.jpg (or .png, .webp, ...) beside KEY.cls, a number or a name, or KEY.json, whose field "label" is
      one. -1 is an unlabelled training image; where no sample of train has a label, all are unlabelled.
    - The names of numbers are the lines of classes.txt, or those in dataset_info.json or README.md of `datasets`.

    Headers are read once, and kept in the cache. All else is as for `folder`.
    """
    fine_only("webdataset", request)
    shards = find_shards("webdataset", existing("webdataset", path), ".tar")
    indexes = {part: index_tars(shards.root, names) for part, names in shards.parts.items()}
    problems = {name: reason for index in indexes.values() for name, reason in index.problems.items()}
    if problems and not request.skip_bad:
        raise broken_files(shards.root, problems)
    parts: dict[Part, Samples] = {}
    before = 0
    for part, index in indexes.items():
        left = {**index.left, BROKEN: tuple(index.problems)} if index.problems else index.left
        parts[part] = Samples(index.names, index.labels, index.rows + np.array([before, 0, 0]), left)
        before += len(shards.parts[part])
    classes = class_list(shards.root, LABEL_FIELDS)
    return open_samples("webdataset", shards, parts, request, place=shards.root, files=shards.files, classes=classes)
