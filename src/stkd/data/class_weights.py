"""Weights of the classes in the cross-entropy: by how rare a class is, or from a file."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import StkdError, unknown
from .base import UNLABELLED, DataSet

__all__ = ["BALANCED", "class_weights"]

BALANCED = "balanced"


def class_weights(spec: str, data: DataSet) -> NDArray[np.float32]:
    """Weights of a data set's classes, float32 (C,).

    Args:
        spec: "balanced": n / (C n_c) with n labelled training images, n_c of them of the class, as scikit-learn has it;
            or a file of a name and a weight for each class: a JSON object, a CSV file of two columns, or text with one
            class a line, the weight last.
        data: The data set.

    Raises:
        StkdError: The file cannot be read, or it does not give each class one positive weight.
    """
    return _balanced(data) if spec == BALANCED else _from_file(Path(spec), data.classes)


def _balanced(data: DataSet) -> NDArray[np.float32]:
    labels = data.train.labels[data.train.labels != UNLABELLED]
    count = np.bincount(labels, minlength=len(data.classes))
    if not count.all():
        missing = data.classes[int(count.argmin())]
        raise StkdError(
            f"class {missing!r} has no training image, so that it has no balanced weight; add images, or give a file "
            "of weights"
        )
    weights: NDArray[np.float32] = (len(labels) / (len(count) * count)).astype(np.float32)
    return weights


def _from_file(file: Path, classes: tuple[str, ...]) -> NDArray[np.float32]:
    weights: dict[str, float] = {}
    for name, value in _pairs(file):
        if name not in classes:
            raise StkdError(f"{file}: {unknown('class', name, classes)}")
        if name in weights:
            raise StkdError(f"{file} names the class {name!r} twice; leave one out")
        weights[name] = _number(file, name, value)
    if missing := [name for name in classes if name not in weights]:
        raise StkdError(f"{file} has no weight of {len(missing)} classes, such as {missing[0]!r}; give each class one")
    return np.array([weights[name] for name in classes], np.float32)


def _number(file: Path, name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise StkdError(f"{file} gives the class {name!r} the weight {value}; give a positive number")
    return number


def _pairs(file: Path) -> Iterable[tuple[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise StkdError(f"{file} is no text file; give lines of a class and its weight") from None
    except OSError as error:
        raise StkdError(
            f"class_weights is neither {BALANCED!r} nor a file that can be read: {file} ({error.strerror})"
        ) from None
    if file.suffix.lower() == ".json":
        return _of_json(file, text)
    if file.suffix.lower() == ".csv":
        return _of_lines(file, list(csv.reader(text.splitlines())))
    return _of_lines(file, [line.rsplit(maxsplit=1) for line in text.splitlines()])


def _of_json(file: Path, text: str) -> list[tuple[str, Any]]:
    try:
        pairs = json.loads(text, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, _Pairs):
        raise StkdError(f'{file} must be a JSON object of classes and weights, such as {{"cat": 1.5}}')
    return pairs


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with each of its names, also where one comes twice."""


def _of_lines(file: Path, rows: list[list[str]]) -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for number, row in enumerate(rows, 1):
        if not row:
            continue
        if len(row) != 2:
            raise StkdError(f"{file}, line {number}: give a class and its weight, such as 'cat 1.5' (CSV: 'cat,1.5')")
        pairs.append((row[0].strip(), row[1].strip()))
    return pairs
