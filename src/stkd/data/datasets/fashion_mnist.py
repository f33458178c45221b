"""Fashion-MNIST, from the published IDX files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.errors import StkdError
from ..base import DataSet, Request, Split, sources
from ..channel_stats import channel_stats
from ..digest import digest_files, fingerprint
from ..idx import read_idx
from ..image_arrays import augment_for, resize_images
from ..request_checks import fine_only, folder_of

DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")

CLASSES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


@sources.register("fashion-mnist", "70,000 grey images of clothes, 28 x 28, 10 classes", "arXiv 1708.07747")
def fashion_mnist(path: Path | None, request: Request) -> DataSet:
    """60,000 training and 10,000 test images.

    Without a path, the folder of Debian's package dataset-fashion-mnist is used.
    """
    fine_only("fashion-mnist", request)
    if path is None and not DEBIAN_FOLDER.is_dir():
        raise StkdError(
            "fashion-mnist needs its IDX files; write fashion-mnist:PATH, or install Debian's dataset-fashion-mnist"
        )
    root = folder_of("fashion-mnist", path or DEBIAN_FOLDER)
    files = [
        _find(root, f"{part}-{content}-ubyte")
        for part in ("train", "t10k")
        for content in ("images-idx3", "labels-idx1")
    ]
    train_images, train_labels = _read(files[0], files[1])
    test_images, test_labels = _read(files[2], files[3])
    if train_images.shape[1:] != test_images.shape[1:]:
        raise StkdError(f"{root}: training and test images differ in size; fetch the four files again")
    mean, std = channel_stats(train_images)
    size = request.image_size or train_images.shape[-1]
    digest = digest_files(root, [file.name for file in files])
    return DataSet(
        name="fashion-mnist",
        classes=CLASSES,
        channels=1,
        size=size,
        mean=mean,
        std=std,
        augment=augment_for(size),
        train=Split(resize_images(train_images, size, **request.view), train_labels),
        val=None,
        test=Split(resize_images(test_images, size, **request.view), test_labels),
        fingerprint=fingerprint(digest, size=size, **request.unusual_view),
        **request.view,
    )


def _find(root: Path, name: str) -> Path:
    for file in (root / name, root / f"{name}.gz"):
        if file.exists():
            return file
    raise StkdError(f"{root} has no {name}[.gz]; give the folder of the four published files")


def _read(images_file: Path, labels_file: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, labels = read_idx(images_file, 3)[:, None], read_idx(labels_file, 1).astype(np.int64)
    if len(images) != len(labels) or not len(images):
        raise StkdError(
            f"{images_file} has {len(images)} images, {labels_file.name} {len(labels)} labels; fetch both again"
        )
    if images.shape[2] != images.shape[3]:
        raise StkdError(
            f"{images_file} has images of {images.shape[3]} x {images.shape[2]} pixels; they must be square"
        )
    if labels.max() >= len(CLASSES):
        raise StkdError(
            f"{labels_file} has the label {labels.max()}, but there are {len(CLASSES)} classes; fetch it again"
        )
    return images, labels
