"""Classes in another order than the teacher's outputs (pytorch/vision#714, timm#222): stopped, and the order shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import stkd
from stkd.core.errors import StkdError

NAMES = [str(n) for n in range(1, 11)]  # a folder sorts "10" before "2"


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real digits as files in folders "1" to "10", the digit 0 in "10"."""
    root = tmp_path_factory.mktemp("digits")
    images, labels = load_digits(return_X_y=True)
    for i, (pixels, label) in enumerate(zip(images[:600], labels[:600], strict=True)):
        folder = root / NAMES[(label - 1) % 10]
        folder.mkdir(exist_ok=True)
        Image.fromarray((pixels.reshape(8, 8) * 15.9).astype(np.uint8)).resize((16, 16)).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def weights(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Sequence[int]], Path]:
    """Bare weights of a good teacher, its classifier rows in a given order of the folder's classes."""
    out = tmp_path_factory.mktemp("teacher")
    plain = {"accelerator": "cpu", "precision": "32", "augment": "none"}
    options = {"epochs": 15, "batch_size": 32, "image_size": 16, "lr": 0.05, **plain}
    trained = stkd.train("cnn4", f"folder:{digits}", out=out / "run", **options)
    assert trained.scores["test"]["top1"] > 0.85

    def save(rows: Sequence[int]) -> Path:
        state = torch.load(out / "plain.pth", weights_only=True) if (out / "plain.pth").exists() else None
        state = state or {name: value.clone() for name, value in trained.model.state_dict().items()}
        torch.save(state, out / "plain.pth")
        heads = {name for name, value in state.items() if value.shape[:1] == (10,)}
        assert len(heads) == 2
        file = out / f"{'-'.join(map(str, rows))}.pth"
        torch.save({name: value[list(rows)] if name in heads else value for name, value in state.items()}, file)
        return file

    return save


def distil(digits: Path, file: Path, out: Path, **options: object) -> stkd.Result:
    plain = {"epochs": 1, "image_size": 16, "accelerator": "cpu", "precision": "32"}
    return stkd.distill("cnn4", "cnn2", f"folder:{digits}", out=out, teacher_weights=file, **{**plain, **options})


ROTATED, SWAPPED = [*range(1, 10), 0], [0, 1, 2, 7, 4, 5, 6, 3, 8, 9]
NUMERIC = [sorted(NAMES).index(name) for name in NAMES]  # a teacher in numeric order, a folder in that of its names


@pytest.mark.parametrize("rows", [ROTATED, SWAPPED, NUMERIC], ids=["rotated", "two swapped", "10 before 2"])
def test_it_is_stopped_and_mended_by_the_file_that_it_names(
    rows: list[int], digits: Path, weights: Callable[[Sequence[int]], Path], tmp_path: Path
) -> None:
    file = weights(rows)
    with pytest.raises(StkdError, match="outputs are in another order than the classes"):
        distil(digits, file, tmp_path / "run")
    names = tmp_path / "run" / "teacher-classes.txt"
    assert names.read_text().split() == [sorted(NAMES)[row] for row in rows]
    distil(digits, file, tmp_path / "run", teacher_classes=names)


def test_the_right_order_is_trained(digits: Path, weights: Callable[[Sequence[int]], Path], tmp_path: Path) -> None:
    distil(digits, weights(range(10)), tmp_path / "run")
