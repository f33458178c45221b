"""Weights of classes: balanced, and from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

import stkd
from stkd.data.base import DataSet, Split
from stkd.data.class_weights import class_weights

LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 2, -1])


def data(labels: Any = LABELS, classes: tuple[str, ...] = ("cat", "guinea pig", "dog")) -> DataSet:
    split = Split(np.zeros((len(labels), 1, 8, 8), np.uint8), labels)
    return DataSet("x", classes, 1, 8, (0.5,), (0.5,), "none", split, None, None, "x")


def test_balanced_is_that_of_scikit_learn() -> None:
    reference = compute_class_weight("balanced", classes=np.arange(3), y=LABELS[:-1])
    np.testing.assert_allclose(class_weights("balanced", data()), reference, rtol=1e-6)
    with pytest.raises(stkd.StkdError, match="class 'dog' has no training image"):
        class_weights("balanced", data(LABELS[:7]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("w.txt", "guinea pig 2.5\n\n  dog 3\ncat\t1e-1\n"),
        ("w.csv", 'dog,3\ncat,0.1\n"guinea pig", 2.5\n'),
        ("w.json", '{"dog": 3, "cat": 0.1, "guinea pig": 2.5}'),
        ("W.CSV", "\ufeffdog,3\r\ncat,0.1\r\nguinea pig,2.5\r\n"),
    ],
)
def test_files(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = class_weights(str(tmp_path / name), data())
    np.testing.assert_allclose(found, [0.1, 2.5, 3], rtol=1e-6)
    assert found.dtype == np.float32


BAD = {
    "cat 1\nguinea pig 2\n": "has no weight of 1 classes, such as 'dog'; give each class one",
    "cat 1\nguinea pig 2\ndgo 3\n": "unknown class 'dgo'; did you mean dog",
    "cat 1\ncat 2\nguinea pig 2\ndog 3\n": "names the class 'cat' twice",
    "cat 0\n": "gives the class 'cat' the weight 0; give a positive number",
    "cat inf\n": "the weight inf; give a positive number",
    "cat much\n": "the weight much; give a positive number",
    "cat\n": "line 1: give a class and its weight",
    "\xff": "is no text file",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_files(text: str, tmp_path: Path) -> None:
    (tmp_path / "w.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(stkd.StkdError, match=BAD[text]):
        class_weights(str(tmp_path / "w.txt"), data())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2]", "must be a JSON object"),
        ("{", "must be a JSON object"),
        ('{"cat": 1, "cat": 2, "dog": 3}', "names the class 'cat' twice"),
        ('{"cat": true}', "the weight True; give a positive number"),
        ('{"cat": {"a": 1}}', "give a positive number"),
    ],
)
def test_bad_json(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(text)
    with pytest.raises(stkd.StkdError, match=said):
        class_weights(str(tmp_path / "w.json"), data())


def test_no_file() -> None:
    with pytest.raises(stkd.StkdError, match="neither 'balanced' nor a file that can be read: balnced"):
        class_weights("balnced", data())
