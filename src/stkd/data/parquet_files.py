"""Parquet files with a column of encoded images and one of labels; needs pyarrow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..core.errors import StkdError, unknown
from .class_list import names_in
from .decoded_cache import cache_folder, cached, cached_run
from .digest import digest_files, fingerprint
from .shards import Label

__all__ = ["Columns", "Unpacked", "columns_of", "unpack"]

_IMAGE = ("image", "img")
_LABEL = ("label", "labels", "class", "cls", "category", "target", "fine_label")
_COARSE = ("coarse_label",)

_VERSION = 1
"""Raised when files are unpacked otherwise than before, so that old cache entries are not used."""

_AT_ONCE = 16
"""Images that are read together: all that is in memory at a time, beside a page of the file."""


@dataclass(frozen=True)
class Columns:
    """What is read of Parquet files.

    Attributes:
        image, label: Names of the columns.
        classes: Names of the classes in the order of their labels, where the files tell them.
    """

    image: str
    label: str
    classes: tuple[str, ...] | None


@dataclass(frozen=True)
class Unpacked:
    """The images of Parquet files, in the order of files and rows.

    Attributes:
        file: Where all lie, as they were encoded.
        rows: int64 (N, 2), first byte there and length in bytes; 0 for a row without an image.
        labels: Their classes, of each Parquet file.
    """

    file: Path
    rows: NDArray[np.int64]
    labels: Sequence[Sequence[Label]]


def columns_of(root: Path, names: Sequence[str], asked: Mapping[str, str], *, coarse: bool = False) -> Columns:
    """The columns of images and labels.

    Args:
        root: Folder that the names are relative to.
        names: Of the files, one or more.
        asked: Names of the columns that the user chose, as "image" and "label".
        coarse: Take coarse labels, as CIFAR-100 has them, where the user chose none.

    Raises:
        StkdError: A file cannot be read, a column is missing or has another type, or several would do.
    """
    schemas = {}
    for name in names:
        with _one_line(root / name):
            schemas[name] = pq.read_schema(root / name)
    file, schema = root / names[0], schemas[names[0]]
    features = _features(schema)
    image = _image_column(file, schema, asked.get("image"))
    label = _label_column(file, schema, asked.get("label"), features, coarse)
    for name, other in schemas.items():
        for column in (image, label):
            if column not in other.names or other.field(column).type != schema.field(column).type:
                raise StkdError(
                    f"{root / name} has other columns than {names[0]} ({_shown(other)}); give the folder of one of the "
                    "data sets"
                )
    return Columns(image, label, names_in(features, (label,)))


def _image_column(file: Path, schema: Any, asked: str | None) -> str:
    found = [name for name in schema.names if _is_image(schema.field(name).type)]
    name = asked or next((name for name in _IMAGE if name in found), None)
    if name is None and len(found) == 1:
        name = found[0]
    if name is None and len(found) > 1:
        raise StkdError(
            f"{file} has several columns of images ({', '.join(found)}); choose one by PATH:image={found[0]}"
        )
    if name is not None and name not in schema.names:
        raise unknown(f"column of {file}", name, schema.names)
    if name is None or name not in found:
        of = "has no column of images" if name is None else f"holds no images in its column {name}"
        raise StkdError(
            f"{file} {of} ({_shown(schema)}); wanted is the content of image files, as binary or as a struct "
            "{bytes, path}"
        )
    return name


def _label_column(file: Path, schema: Any, asked: str | None, features: Any, coarse: bool) -> str:
    known = [n for n, feature in features.items() if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"]
    usual = _COARSE if coarse else _LABEL
    name = asked or next((name for name in usual if name in schema.names), None)
    if name is None and len(known) == 1 and not coarse:
        name = str(known[0])
    if name is None:
        raise StkdError(
            f"{file} has no column {usual[0]} ({_shown(schema)}); choose that of the labels by PATH:label=NAME"
        )
    if name not in schema.names:
        raise unknown(f"column of {file}", name, schema.names)
    kind = schema.field(name).type
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_integer(plain) or pa.types.is_string(plain) or pa.types.is_large_string(plain)):
        raise StkdError(f"{file} has no labels in its column {name}, but {kind}; wanted is a number or a name a row")
    return name


def unpack(root: Path, names: Sequence[str], columns: Columns) -> Unpacked:
    """Take images and labels out of the files, now or in an earlier session; images go to one file of the cache.

    Raises:
        StkdError: A file is damaged, or the cache cannot be written.
    """
    key = fingerprint("parquet", _VERSION, digest_files(root, names), columns.image, columns.label)

    def read_labels() -> dict[str, NDArray[np.uint8]]:
        found = [_labels(root / name, columns.label) for name in names]
        return {"labels": np.frombuffer(json.dumps(found).encode(), np.uint8)}

    labels: list[list[Label]] = json.loads(cached(key, ("labels",), read_labels)["labels"].tobytes())
    if not any(labels):
        return Unpacked(cache_folder(), np.zeros((0, 2), np.int64), labels)
    rows = {root / name: len(own) for name, own in zip(names, labels, strict=True)}
    try:
        kept = cached_run(key, "encoded", lambda: _contents(rows, columns.image))
    except OSError as error:
        raise StkdError(
            f"the images of {root} are unpacked into {cache_folder()}, which cannot be written ({error.strerror}); set "
            "STKD_CACHE to a folder with room"
        ) from None
    lengths = kept.shapes[:, 0]
    return Unpacked(kept.file, np.stack([lengths.cumsum() - lengths, lengths], axis=1), labels)


def _contents(rows: Mapping[Path, int], column: str) -> Iterator[NDArray[np.uint8]]:
    """The bytes of every image, in order; none for a row without one.

    Args:
        rows: How many each file has.
        column: Name of the column.

    Raises:
        StkdError: A file is damaged.
    """
    for file, expected in rows.items():
        seen = 0
        with _one_line(file), pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20) as opened:
            for batch in opened.iter_batches(_AT_ONCE, columns=[column], use_threads=False):
                images = batch.column(0)
                if pa.types.is_struct(images.type):
                    images = images.flatten()[images.type.get_field_index("bytes")]
                seen += len(images)
                for image in images:
                    content = image.as_py() or b""
                    yield np.frombuffer(content, np.uint8) if content else np.empty(0, np.uint8)
        if seen != expected:
            raise StkdError(f"{file} is damaged ({seen} images for {expected} labels); copy it again")


def _labels(file: Path, column: str) -> list[Label]:
    with _one_line(file), pq.ParquetFile(file) as opened:
        labels = opened.read(columns=[column], use_threads=False).column(0).to_pylist()
    return [None if label in ("", -1) else label for label in labels]


def _is_image(kind: Any) -> bool:
    if pa.types.is_struct(kind) and (place := kind.get_field_index("bytes")) >= 0:
        kind = kind.field(place).type
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _features(schema: Any) -> dict[Any, Any]:
    """What the `datasets` library wrote of the columns."""
    try:
        document = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = document["info"]["features"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _shown(schema: Any) -> str:
    """Columns and their types, for a message."""
    most = [f"{name} {schema.field(name).type}" for name in schema.names[:8]]
    return ", ".join([*most, *(["..."] if len(schema.names) > len(most) else [])]) or "no columns"


@contextmanager
def _one_line(file: Path) -> Iterator[None]:
    """Turn what pyarrow says of a file into one line.

    Raises:
        StkdError: In its place.
    """
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        if _is_pointer(file):
            raise StkdError(f"{file} is the pointer of Git LFS to a file that is not here; run git lfs pull") from None
        raise StkdError(f"{file} is damaged or no Parquet file ({reason}); copy it again") from None


def _is_pointer(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return stream.read(19) == b"version https://git"
    except OSError:
        return False
