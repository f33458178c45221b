"""Batches as a GPU makes them, here on the CPU: those that the CPU makes in its own way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from stkd.data import DataSet, Split
from stkd.data import loader as loading
from stkd.data.base import Augment
from stkd.data.loader import TrainLoader
from stkd.mixing import Mix

MIXES = {
    "real": Mix("none", 1),
    "mixup": Mix(),
    "four": Mix(instances=4, per_sample=True),
    "beside": Mix(beside=True),
    "cutmix": Mix("cutmix", per_sample=True),
}


def data_set(channels: int) -> DataSet:
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (40, channels, 12, 10), np.uint8), np.arange(40) % 3)
    statistics = (0.5, 0.4, 0.3)[:channels], (0.2, 0.3, 0.4)[:channels]
    return DataSet("test", ("a", "b", "c"), channels, 12, *statistics, "crop4", split, None, split, "x")


def loaders(channels: int, augmentation: Augment, mix: Mix) -> tuple[TrainLoader, TrainLoader]:
    """One as on a GPU, one as on a CPU."""
    options: dict[str, Any] = {"batch_size": 16, "seed": 5, "device": torch.device("cpu")}
    data = data_set(channels)
    fused, plain = (TrainLoader(data, mix=mix, augmentation=augmentation, **options) for _ in range(2))
    fused._fused = True
    return fused, plain


@pytest.mark.parametrize("mix", MIXES.values(), ids=MIXES)
@pytest.mark.parametrize("augmentation", ["none", "crop4", "crop8"])
@pytest.mark.parametrize("channels", [1, 3])
def test_are_the_same(channels: int, augmentation: Augment, mix: Mix) -> None:
    fused, plain = loaders(channels, augmentation, mix)
    for found, expected in zip(fused.epoch(1), plain.epoch(1), strict=True):
        torch.testing.assert_close(found.images, expected.images, atol=2e-5, rtol=0)
        assert found.images.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(found.targets, expected.targets)
        assert torch.equal(found.index, expected.index)


def test_rows_that_show_one_image_show_exactly_that() -> None:
    fused, _ = loaders(3, "crop4", Mix(beside=True))
    real, _ = loaders(3, "crop4", Mix("none", 1))
    assert torch.equal(next(fused.epoch(0)).images[:16], next(real.epoch(0)).images)


def test_compiled_are_the_same() -> None:
    fused, plain = loaders(3, "crop4", Mix())
    fused.compile()
    assert fused._virtual is not loading.virtual
    for found, expected in zip(fused.epoch(0), plain.epoch(0), strict=True):
        torch.testing.assert_close(found.images, expected.images, atol=2e-5, rtol=0)


def test_stay_as_they_are_where_compiling_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> object:
        def failing(*_: object) -> torch.Tensor:
            raise RuntimeError("no compiler")

        return failing

    fused, plain = loaders(3, "crop4", Mix())
    monkeypatch.setattr(torch, "compile", refuse)
    fused.compile()
    assert "made uncompiled (RuntimeError: no compiler)" in caplog.text
    torch.testing.assert_close(next(fused.epoch(0)).images, next(plain.epoch(0)).images, atol=2e-5, rtol=0)
    monkeypatch.setattr(torch, "compile", None)
    plain.compile()  # nothing to compile on a CPU
