"""The user's own images, listed in a table of paths and labels."""

from __future__ import annotations

import csv
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from ...core.errors import StkdError, unknown
from ..base import DataSet, Part, Request, sources
from ..broken_files import broken_files
from ..digest import fingerprint
from ..folder_layout import open_trees
from ..image_tree import BROKEN, ImageTree
from ..request_checks import existing, fine_only
from .folder import SPLIT_NAMES

_IMAGE = ("image", "path", "file", "filename", "filepath", "file_name", "image_path")
_LABEL = ("label", "class", "category", "target")
_SPLIT = ("split", "subset", "part")

Row = tuple[str, str | None, Part | None]
"""Path of an image, its class, its split."""


@sources.register("csv", "a table of your own images: PATH.csv (or .tsv), columns image and label, split if wanted")
def table(path: Path | None, request: Request) -> DataSet:
    """Images that a table names, one a line, with a first line that names the columns.

    - image (or path, file, filename): relative to the folder of the table, or absolute.
    - label (or class, category, target): name of the class; empty for an unlabelled training image.
    - split (or subset, part), which may be left out: train, val or test, as the folders of `folder` may be called.
      Where there are no test images, val serves as test split, or a stratified part of train becomes it.

    All else is as for `folder`.
    """
    fine_only("csv", request)
    file = existing("csv", path)
    if file.is_dir():
        raise StkdError(f"csv: {file} is a folder; give the table itself, such as {file / 'images.csv'}")
    root, rows = file.parent, list(_rows(file))
    if twice := [name for name, count in Counter(name for name, *_ in rows).items() if count > 1]:
        raise StkdError(f"{file} names {len(twice):,} images more than once, such as {twice[0]}; keep one line of each")
    missing = {name for name, *_ in rows if not os.path.isfile(os.path.join(root, name))}
    if missing and not request.skip_bad:
        raise broken_files(root, dict.fromkeys(sorted(missing), "is not there"))
    trees = _trees(file, [row for row in rows if row[0] not in missing], sorted(missing))
    labels = [own for tree in trees.values() for own in tree.classes]
    return open_trees("csv", root, trees, request.image_size, request, marks={"labels": fingerprint(labels)})


def _rows(file: Path) -> Iterator[Row]:
    """The lines of a table.

    Raises:
        StkdError: It cannot be read, lacks a column, or a line is wrong.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            lines = csv.reader(text, delimiter="\t" if file.suffix.lower() == ".tsv" else ",", strict=True)
            header = [name.strip().lower() for name in next(lines, [])]
            image, label = _column(file, header, _IMAGE), _column(file, header, _LABEL)
            split = next((header.index(name) for name in _SPLIT if name in header), None)
            for row in lines:
                if not row:
                    continue
                if len(row) != len(header):
                    raise StkdError(
                        f"{file}, line {lines.line_num}: {len(row)} columns where the first line names {len(header)}; "
                        "put texts with a separator into quotes"
                    )
                if not row[image].strip():
                    raise StkdError(f"{file}, line {lines.line_num}: there is no path; give one or remove the line")
                yield row[image].strip(), row[label].strip() or None, None if split is None else _part(row[split])
    except OSError as error:
        raise StkdError(f"{file} cannot be read ({error.strerror}); check its permissions") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise StkdError(f"{file} is no table in UTF-8 with commas, or tabs as .tsv ({error}); save it so") from None


def _column(file: Path, header: Sequence[str], names: Sequence[str]) -> int:
    for name in names:
        if name in header:
            return header.index(name)
    found = ", ".join(header) or "nothing"
    raise StkdError(f"{file} has no column {names[0]!r} ({found} in its first line); name one {' or '.join(names)}")


def _part(word: str) -> Part:
    part = SPLIT_NAMES.get(word.strip().lower())
    if part is None:
        raise unknown("split", word.strip(), SPLIT_NAMES)
    return part


def _trees(file: Path, rows: Sequence[Row], missing: Sequence[str]) -> dict[Part, ImageTree]:
    """The images of each split, as if each were a folder."""
    parts: defaultdict[Part, list[Row]] = defaultdict(list)
    for row in rows:
        parts[row[2] or "train"].append(row)
    if not parts["train"]:
        raise StkdError(f"{file} has no training images; give lines, with split train where there is such a column")
    if len({own for _, own, _ in rows if own is not None}) == 1:
        raise StkdError(f"{file} has the one class {rows[0][1]!r}, and a classifier needs two; check its labels")
    for part in ("val", "test"):
        if bare := [name for name, own, _ in parts[part] if own is None]:
            raise StkdError(f"{file}: {len(bare):,} {part} images have no label, such as {bare[0]}; give them one")
    order: tuple[Part, ...] = ("train", "val", "test")
    trees = {}
    for part in (part for part in order if parts[part]):
        names, classes = zip(*((name, own) for name, own, _ in parts[part]), strict=True)
        left = {BROKEN: tuple(missing)} if part == "train" and missing else {}
        trees[part] = ImageTree("", names, classes, Counter(own for own in classes if own is not None), left)
    return trees
