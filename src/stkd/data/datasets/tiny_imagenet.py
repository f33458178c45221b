"""Tiny-ImageNet, from the published folder tree."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...core.errors import StkdError
from ..base import DataSet, ImageFiles, Request, Split, sources
from ..channel_stats import IMAGENET_MEAN, IMAGENET_STD
from ..digest import digest_files, fingerprint
from ..image_arrays import augment_for
from ..image_tree import broken_to_drop, list_images, load_images
from ..request_checks import fine_only, folder_of
from ..splits import take

FOLDER = "tiny-imagenet-200"
SIZE = 64


@sources.register("tiny-imagenet", "110,000 colour images, 64 x 64, 200 classes", "Le & Yang, CS231N 2015")
def tiny_imagenet(path: Path | None, request: Request) -> DataSet:
    """The published training images; the published validation images are the test split.

    The labels of the published test images are not public, so they are not read. Labels follow the sorted WordNet ids,
    as everywhere where the set is read as a tree of folders. The few grey images become RGB.
    """
    fine_only("tiny-imagenet", request)
    root = _locate(folder_of("tiny-imagenet", path))
    wnids = _wnids(root)
    position = {wnid: label for label, wnid in enumerate(wnids)}
    train = [(name, position[wnid]) for wnid in wnids for name in _train_names(root, wnid)]
    test = _annotated(root, position)
    size = request.image_size or SIZE
    names = tuple(name for name, _ in (*train, *test))
    files = ImageFiles(root, names, 3, size, **request.view, skip_bad=request.skip_bad)
    if broken := broken_to_drop(files):
        train, test = ([one for one in part if one[0] not in broken] for part in (train, test))
        files = replace(files, names=tuple(name for name in names if name not in broken))
    images, digest = load_images(files)
    labels = np.array([label for _, label in (*train, *test)], np.int64)
    whole = Split(images, labels, None if isinstance(images, ImageFiles) else files)
    cut = np.arange(len(labels))
    texts = digest_files(root, ["wnids.txt", "words.txt", "val/val_annotations.txt"])
    return DataSet(
        name="tiny-imagenet",
        classes=_class_names(root, wnids),
        channels=3,
        size=size,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        augment=augment_for(size),
        train=take(whole, cut[: len(train)]),
        val=None,
        test=take(whole, cut[len(train) :]),
        fingerprint=fingerprint(digest, texts, size=size, **request.unusual_view),
        **request.view,
    )


def _locate(path: Path) -> Path:
    for root in (path, path / FOLDER):
        if (root / "wnids.txt").exists():
            return root
    raise StkdError(f"tiny-imagenet: {path} has no wnids.txt; give the folder {FOLDER} of the published archive")


def _wnids(root: Path) -> list[str]:
    wnids = sorted({line.strip() for line in _lines(root / "wnids.txt")})
    if not wnids:
        raise StkdError(f"{root / 'wnids.txt'} lists no class; unpack the published archive again")
    for wnid in wnids:
        if not wnid.isalnum():
            raise StkdError(f"{root / 'wnids.txt'} lists {wnid!r}, which is no WordNet id; unpack the archive again")
    return wnids


def _lines(file: Path) -> list[str]:
    try:
        return [line for line in file.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise StkdError(f"{file} is no text file; unpack the published archive again") from None
    except OSError as error:
        raise StkdError(f"{file} cannot be read ({error.strerror}); unpack the published archive again") from None


def _train_names(root: Path, wnid: str) -> tuple[str, ...]:
    folder = f"train/{wnid}/images"
    if not (root / folder).is_dir():
        raise StkdError(f"{root / folder} does not exist, but wnids.txt lists {wnid}; unpack the archive again")
    return list_images(root, folder).names


def _annotated(root: Path, position: dict[str, int]) -> list[tuple[str, int]]:
    """The validation images and their labels."""
    file = root / "val" / "val_annotations.txt"
    images = []
    for number, line in enumerate(_lines(file), 1):
        name, _, rest = line.partition("\t")
        wnid = rest.split("\t")[0].strip()
        if Path(name).name != name:
            raise StkdError(f"{file}, line {number}: {name!r} is no file name; unpack the published archive again")
        if wnid not in position:
            raise StkdError(f"{file}, line {number}: {wnid!r} is not in wnids.txt; unpack the published archive again")
        if not (root / "val" / "images" / name).exists():
            raise StkdError(f"{root / 'val' / 'images' / name} does not exist; unpack the published archive again")
        images.append((f"val/images/{name}", position[wnid]))
    if not images:
        raise StkdError(f"{file} is empty; unpack the published archive again")
    return images


def _class_names(root: Path, wnids: list[str]) -> tuple[str, ...]:
    """The first word of each class, with its id where two classes share it."""
    words = dict(line.split("\t", 1) for line in _lines(root / "words.txt") if "\t" in line)
    first = [words.get(wnid, wnid).split(",")[0].strip() for wnid in wnids]
    count = Counter(first)
    return tuple(word if count[word] == 1 else f"{word} ({wnid})" for word, wnid in zip(first, wnids, strict=True))
