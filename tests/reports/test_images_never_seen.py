"""127 images in batches of 64 were one step an epoch: 63 images of each epoch were never seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

import stkd
from stkd.data.base import DataSet, Split
from stkd.data.loader import TrainLoader
from stkd.mixing import Mix


def images(count: int) -> DataSet:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    split = Split(pixels, np.arange(count, dtype=np.int64) % 2)
    return DataSet("images", ("a", "b"), 1, 8, (0.5,), (0.3,), "crop4", split, None, split, f"{count}")


def test_every_image_is_in_every_epoch() -> None:
    loader = TrainLoader(
        images(127), batch_size=64, mix=Mix(), augmentation="crop4", seed=0, device=torch.device("cpu")
    )
    for epoch in (0, 1, 5):
        seen = torch.cat([batch.index for batch in loader.epoch(epoch)])
        assert len(seen) == 128
        assert torch.equal(seen.unique(), torch.arange(127))


def test_processes_share_the_last_batch_too() -> None:
    options = {"batch_size": 64, "mix": Mix(), "augmentation": "none", "seed": 0, "device": torch.device("cpu")}
    whole = list(TrainLoader(images(127), **options).epoch(3))
    parts = [list(TrainLoader(images(127), **options, rank=rank, world=2).epoch(3)) for rank in range(2)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert torch.equal(torch.stack([first.images, second.images], 1).flatten(0, 1), batch.images)


def test_steps_images_and_schedule_agree(tmp_path: Path) -> None:
    """Of a run: 2 epochs of 2 steps, and the learning rate ends at zero."""
    options = {
        "epochs": 2,
        "batch_size": 64,
        "precision": "32",
        "accelerator": "cpu",
        "method": "ce",
        "preflight": "off",
    }
    kept = stkd.train("cnn2", images(127), out=tmp_path / "kept", **options)
    dropped = stkd.train("cnn2", images(127), out=tmp_path / "dropped", drop_last=True, **options)
    assert (kept.scores["images_seen"], dropped.scores["images_seen"]) == (256, 128)
    state = torch.load(tmp_path / "kept" / "checkpoints" / "last.pt", weights_only=True)
    assert state["scheduler"]["last_epoch"] == 4
    assert abs(state["optimizer"]["param_groups"][0]["lr"]) < 1e-9
