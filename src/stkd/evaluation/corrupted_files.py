"""The published corrupted test sets, read from where a user has them: CIFAR-10-C, CIFAR-100-C, Tiny-ImageNet-C.

Hendrycks & Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.errors import StkdError
from ..data.base import DataSet, ImageFiles, Split
from ..data.decode import image_suffixes
from .corruptions import CORRUPTIONS, SEVERITIES

__all__ = ["BENCHMARK", "corrupted_files"]

BENCHMARK = (*CORRUPTIONS, "frost")
"""The fifteen corruptions of the benchmark; further ones in the folder (speckle noise and others) are left out."""

_LABELS = "labels.npy"


def corrupted_files(folder: Path, data: DataSet) -> Mapping[tuple[str, int], Split]:
    """Splits of a published corrupted test set by corruption and severity.

    Args:
        folder: CIFAR-10-C and CIFAR-100-C: a .npy file for each corruption and labels.npy. Tiny-ImageNet-C: folders
            CORRUPTION/SEVERITY/CLASS with image files.
        data: The data set with the same classes.

    Raises:
        StkdError: The folder has no corruption of the benchmark, or its files are not those of this data set.
    """
    if not folder.is_dir():
        raise StkdError(f"{folder} is no folder; give that of CIFAR-10-C, CIFAR-100-C or Tiny-ImageNet-C")
    arrays = [name for name in BENCHMARK if (folder / f"{name}.npy").is_file()]
    trees = [name for name in BENCHMARK if (folder / name).is_dir()]
    if not arrays and not trees:
        raise StkdError(
            f"{folder} has no files such as {BENCHMARK[0]}.npy or folders such as {BENCHMARK[0]}/1; give the folder of "
            "CIFAR-10-C, CIFAR-100-C or Tiny-ImageNet-C"
        )
    if arrays:
        labels = _labels(folder / _LABELS, data)
        return {cell: split for name in arrays for cell, split in _of_array(folder, name, labels, data).items()}
    return {(name, s): _of_tree(folder / name / str(s), data) for name in trees for s in SEVERITIES}


def _labels(file: Path, data: DataSet) -> NDArray[np.int64]:
    labels = _array(file)
    if labels.ndim != 1 or labels.dtype.kind not in "iu" or not len(labels):
        raise StkdError(f"{file} holds no labels; copy it from the published archive again")
    if labels.min() < 0 or labels.max() >= len(data.classes):
        raise StkdError(f"{file} has labels up to {labels.max()}, and {data.name} has {len(data.classes)} classes")
    return labels.astype(np.int64)


def _of_array(folder: Path, name: str, labels: NDArray[np.int64], data: DataSet) -> dict[tuple[str, int], Split]:
    images, shape = _array(folder / f"{name}.npy"), (data.size, data.size, data.channels)
    if images.dtype != np.uint8 or images.shape[1:] != shape or len(images) % len(SEVERITIES):
        raise StkdError(
            f"{folder / name}.npy holds {images.dtype} {images.shape}, not five severities of uint8 {shape} images; "
            "copy it from the published archive again"
        )
    count = len(images) // len(SEVERITIES)
    if len(labels) not in (count, len(images)):
        raise StkdError(f"{folder / _LABELS} has {len(labels)} labels for {len(images)} images of {name}.npy")
    labels = np.resize(labels, len(images))
    at = {severity: slice((severity - 1) * count, severity * count) for severity in SEVERITIES}
    pixels = images.transpose(0, 3, 1, 2).view(np.uint8)
    return {(name, s): Split(pixels[rows], labels[rows]) for s, rows in at.items()}


def _array(file: Path) -> NDArray[np.generic]:
    try:
        array: NDArray[np.generic] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StkdError(f"{file} cannot be read ({' '.join(str(error).split())}); copy it again") from None
    return array


def _of_tree(folder: Path, data: DataSet) -> Split:
    suffixes, names, labels = image_suffixes(), [], []
    for label, name in enumerate(data.classes):
        inside = sorted(path for path in (folder / name).glob("*") if path.suffix.lower() in suffixes)
        names += [f"{name}/{path.name}" for path in inside]
        labels += [label] * len(inside)
    if not names:
        raise StkdError(f"{folder} has no image in a folder of a class of {data.name}, such as {data.classes[0]}")
    files = ImageFiles(folder, tuple(names), data.channels, data.size, data.crop_pct, data.interpolation)
    return Split(files, np.array(labels, np.int64))
