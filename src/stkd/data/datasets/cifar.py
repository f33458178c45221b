"""CIFAR-10 and CIFAR-100, from the published Python version."""

from __future__ import annotations

import functools
import gzip
import pickle
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import StkdError
from ..base import DataSet, Request, Split, sources
from ..decoded_cache import cached
from ..digest import digest_files, fingerprint
from ..image_arrays import augment_for, resize_images
from ..plain_pickle import load_plain
from ..request_checks import existing, fine_only

Records = dict[str, dict[str, Any]]
"""What the files hold, by file and key."""

MEMBER_LIMIT = 1 << 29
"""Largest file, in bytes, that is read out of an archive; the published ones have at most 155 MB."""


@dataclass(frozen=True)
class Layout:
    """Where one of the two sets keeps what."""

    kind: str
    folder: str
    archive: str
    train: tuple[str, ...]
    test: str
    meta: str
    labels: str
    names: str
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test, self.meta)


CIFAR10 = Layout(
    kind="cifar10",
    folder="cifar-10-batches-py",
    archive="cifar-10-python.tar.gz",
    train=tuple(f"data_batch_{k}" for k in range(1, 6)),
    test="test_batch",
    meta="batches.meta",
    labels="labels",
    names="label_names",
    classes=10,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
)
FINE, COARSE = (
    Layout(
        kind="cifar100",
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        train=("train",),
        test="test",
        meta="meta",
        labels=f"{labels}_labels",
        names=f"{labels}_label_names",
        classes=classes,
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    )
    for labels, classes in (("fine", 100), ("coarse", 20))
)


@sources.register("cifar10", "60,000 colour images, 32 x 32, 10 classes", "Krizhevsky 2009")
def cifar10(path: Path | None, request: Request) -> DataSet:
    """50,000 training and 10,000 test images; PATH is the folder, the one around it, or the published archive."""
    fine_only("cifar10", request)
    return _open(CIFAR10, path, request)


@sources.register("cifar100", "60,000 colour images, 32 x 32, 100 classes in 20 superclasses", "Krizhevsky 2009")
def cifar100(path: Path | None, request: Request) -> DataSet:
    """The same numbers of images; labels are the 100 fine classes or the 20 coarse ones."""
    return _open(FINE if request.labels == "fine" else COARSE, path, request)


def _open(layout: Layout, path: Path | None, request: Request) -> DataSet:
    place = _locate(layout, existing(layout.kind, path))
    root, names = (place, layout.files) if place.is_dir() else (place.parent, (place.name,))
    options = {"kind": layout.kind, "image_size": request.image_size, **request.unusual_view}
    pixels = fingerprint(digest_files(root, names), **options)
    key = fingerprint(pixels, labels=layout.labels)

    @functools.cache
    def read() -> dict[str, NDArray[Any]]:
        return _read(layout, place, request)

    images = cached(pixels, ("train_images", "test_images"), read)
    labels = cached(key, ("train_labels", "test_labels", "classes"), read)
    size = images["train_images"].shape[-1]
    return DataSet(
        name=layout.kind,
        classes=tuple(labels["classes"].tolist()),
        channels=3,
        size=size,
        mean=layout.mean,
        std=layout.std,
        augment=augment_for(size),
        train=Split(images["train_images"], np.array(labels["train_labels"])),
        val=None,
        test=Split(images["test_images"], np.array(labels["test_labels"])),
        fingerprint=key,
        **request.view,
    )


def _locate(layout: Layout, path: Path) -> Path:
    """The folder of the batches, or the archive."""
    if path.is_file():
        return path
    for folder in (path, path / layout.folder):
        if (folder / layout.meta).exists():
            missing = [name for name in layout.files if not (folder / name).exists()]
            if missing:
                raise StkdError(f"{layout.kind}: {folder} has no {missing[0]}; unpack {layout.archive} again")
            return folder
    if (path / layout.archive).is_file():
        return path / layout.archive
    raise StkdError(
        f"{layout.kind}: {path} has neither {layout.folder}/{layout.meta} nor {layout.archive}; give the folder of the "
        "published Python version"
    )


def _read(layout: Layout, place: Path, request: Request) -> dict[str, NDArray[Any]]:
    records = {file: _record(place, file, content) for file, content in _contents(layout, place).items()}
    names = _field(place, layout.meta, records, layout.names)
    if len(names) != layout.classes:
        raise StkdError(
            f"{place}: {layout.meta} names {len(names)} classes instead of {layout.classes}; unpack it again"
        )
    train_images, train_labels = _batches(layout, place, records, layout.train)
    test_images, test_labels = _batches(layout, place, records, (layout.test,))
    return {
        "train_images": resize_images(train_images, request.image_size, **request.view),
        "train_labels": train_labels,
        "test_images": resize_images(test_images, request.image_size, **request.view),
        "test_labels": test_labels,
        "classes": np.array([_text(name) for name in names]),
    }


def _contents(layout: Layout, place: Path) -> dict[str, bytes]:
    """The raw files by name."""
    try:
        if place.is_dir():
            return {name: (place / name).read_bytes() for name in layout.files}
        with tarfile.open(place) as archive:
            wanted = {f"{layout.folder}/{name}": name for name in layout.files}
            contents = {}
            for member in archive:
                name = wanted.get(member.name.removeprefix("./"))
                if name and member.isreg() and member.size <= MEMBER_LIMIT and (file := archive.extractfile(member)):
                    contents[name] = file.read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile):
        raise StkdError(f"{place} is no archive or a broken one; fetch {layout.archive} again") from None
    except OSError as error:
        raise StkdError(f"{place} cannot be read ({error.strerror}); check the files and their permissions") from None
    for name in layout.files:
        if name not in contents:
            raise StkdError(f"{place} has no {layout.folder}/{name}; fetch {layout.archive} again")
    return contents


def _batches(
    layout: Layout, place: Path, records: Records, files: Sequence[str]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, labels = [], []
    for file in files:
        pixels = np.asarray(_field(place, file, records, "data"))
        if pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3 * 32 * 32 or not len(pixels):
            raise StkdError(f"{place}: {file} holds no 32 x 32 colour images; unpack {layout.archive} again")
        numbers = _numbers(_field(place, file, records, layout.labels))
        if numbers.shape != (len(pixels),):
            raise StkdError(f"{place}: {file} has {len(pixels)} images but {numbers.size} labels; unpack it again")
        if numbers.min() < 0 or numbers.max() >= layout.classes:
            raise StkdError(
                f"{place}: {file} has labels outside 0..{layout.classes - 1}; unpack {layout.archive} again"
            )
        images.append(pixels.reshape(-1, 3, 32, 32))
        labels.append(numbers)
    return np.concatenate(images), np.concatenate(labels)


def _record(place: Path, file: str, content: bytes) -> dict[str, Any]:
    """The dictionary that a file holds, with text for keys."""
    try:
        record = load_plain(content)
    except pickle.UnpicklingError as error:
        raise StkdError(f"{place}: {file} is refused: {error}; fetch the published files again") from None
    return {_text(key): value for key, value in record.items()} if isinstance(record, dict) else {}


def _field(place: Path, file: str, records: Records, field: str) -> Any:
    value = records[file].get(field)
    if not isinstance(value, list | tuple | np.ndarray):
        raise StkdError(f"{place}: {file} has no {field!r}; is it the Python version of the set?")
    return value


def _numbers(values: Any) -> NDArray[np.int64]:
    """Labels as an array; an empty one where they are not whole numbers."""
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0)
    return array.astype(np.int64) if array.dtype.kind in "iu" else np.empty(0, np.int64)


def _text(value: object) -> str:
    """Python 2 pickles hold bytes where Python 3 has text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
