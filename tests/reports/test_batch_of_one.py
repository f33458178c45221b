"""In a batch of one, mixing does nothing: each sample is its own partner. Nothing may crash on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import stkd
from stkd.data.loader import TrainLoader
from stkd.mixing import Mix

SMALL = {"epochs": 1, "batch_size": 1, "precision": "32", "accelerator": "cpu", "preflight": "off"}
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 8), dtype=np.uint8)
DATA = {"train": (PIXELS, np.arange(6) % 2), "test": (PIXELS, np.arange(6) % 2)}


@pytest.mark.parametrize("mix", [Mix(), Mix("cutmix"), Mix(beside=True), Mix(instances=3, per_sample=True)])
def test_each_sample_is_its_own_partner(mix: Mix) -> None:
    options = {"batch_size": 1, "augmentation": "none", "seed": 0, "device": torch.device("cpu")}
    mixed, real = (TrainLoader(stkd.data_from(DATA), mix=m, **options) for m in (mix, Mix("none", 1)))
    for a, b in zip(mixed.epoch(0), real.epoch(0), strict=True):
        torch.testing.assert_close(a.images, b.images.expand_as(a.images))
        torch.testing.assert_close(a.targets, b.targets.expand_as(a.targets))


@pytest.mark.parametrize("method", ["stkd", "stkd:beta=2", "dkd", "dist", "mlkd", "rkd", "sp", "cc", "pkt", "dml"])
def test_methods_train_on_it(method: str, tmp_path: Path) -> None:
    """A loss between the samples of a batch has none to compare, and is nothing."""
    teacher = stkd.models.create("cnn4", num_classes=2, in_channels=1)
    result = stkd.distill(teacher, "cnn2", DATA, method, out=tmp_path / "run", **SMALL)
    assert result.scores["images_seen"] == 6
    assert result.model is not None
    assert all(torch.isfinite(tensor).all() for tensor in result.model.state_dict().values())


@pytest.mark.parametrize("method", ["reviewkd", "srrl"])
def test_parts_of_a_method_that_normalise_over_a_batch_are_said(method: str, tmp_path: Path) -> None:
    teacher = stkd.models.create("cnn4", num_classes=2, in_channels=1)
    with pytest.raises(stkd.StkdError, match="this batch is one image; give --batch-size 2 or more"):
        stkd.distill(teacher, "cnn2", DATA, method, out=tmp_path / "run", **SMALL)


def test_batch_normalisation_of_one_value_is_said(tmp_path: Path) -> None:
    student = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))
    with pytest.raises(stkd.StkdError, match="this batch is one image; give --batch-size 2 or more"):
        stkd.train(student, DATA, out=tmp_path / "run", **SMALL)
