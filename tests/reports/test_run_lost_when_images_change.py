"""Images were added or removed, and the run was lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import stkd
from stkd.training.step import Step

SMALL = {"epochs": 3, "batch_size": 4, "precision": "32", "accelerator": "cpu", "image_size": 8}


@pytest.fixture
def stopped(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A run on the pictures that is killed in its second epoch."""

    def run(**options: Any) -> Path:
        made, count = Step.__call__, 0

        def killed(self: Step, batch: Any) -> None:
            nonlocal count
            count += 1
            if count == 7:
                raise KeyboardInterrupt
            made(self, batch)

        with monkeypatch.context() as patch:
            patch.setattr(Step, "__call__", killed)
            with pytest.raises(KeyboardInterrupt):
                train(pictures, tmp_path / "run", **options)
        return tmp_path / "run"

    return run


def train(pictures: Path, out: Path, **options: Any) -> stkd.Result:
    given = {**SMALL, "checkpoint_minutes": 1e-9, **options}
    if "method" in given:
        return stkd.distill(str(given.pop("teacher")), "cnn2", f"folder:{pictures}", out=out, **given)
    return stkd.train("cnn2", f"folder:{pictures}", out=out, **given)


def add(pictures: Path, count: int) -> None:
    for i in range(count):
        pixels = np.random.default_rng(i + 99).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(pictures / "cat" / f"new{i}.png")


@pytest.mark.parametrize("change", ["added", "removed"])
def test_the_run_goes_on(
    change: str, stopped: Callable[..., Path], pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = stopped()
    before = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    if change == "added":
        add(pictures, 9)
    else:
        for i in range(3):
            (pictures / "dog" / f"{i}.png").unlink()
    with pytest.raises(stkd.StkdError, match=r"the data changed since .* give --data-changed accept to go on"):
        train(pictures, run)
    assert torch.load(run / "checkpoints" / "last.pt", weights_only=True)["identity"] == before["identity"]
    caplog.set_level("WARNING", "stkd")
    result = train(pictures, run, data_changed="accept")
    (said,) = [message for message in caplog.messages if "are others than before" in message]
    assert "from epoch 2 on it is not bit for bit the run that was begun" in said
    assert "images that it has learnt from may be in its test split now" in said
    images = 29 - 6 if change == "added" else 17 - 3
    steps = -(-images // 4)
    assert result.scores["images_seen"] == 4 * (4 + 2 * steps)
    change_of = json.loads((run / "env.json").read_text())["resumed"][-1]["data_changed"]
    after = torch.load(run / "checkpoints" / "last.pt", weights_only=True)
    assert change_of == {"from": before["identity"]["data"], "to": after["identity"]["data"], "epoch": 1}
    assert after["scheduler"]["last_epoch"] == 3 * steps
    # accepted, it is the run's own: no option is needed any more
    assert not train(pictures, run).fresh


def test_other_class_names_stay_a_refusal(stopped: Callable[..., Path], pictures: Path) -> None:
    run = stopped()
    (pictures / "dog").rename(pictures / "wolf")
    for answer in ("refuse", "accept"):
        with pytest.raises(stkd.StkdError, match="the list of class names changed since this run was started"):
            train(pictures, run, data_changed=answer)


def test_a_memory_of_each_image_is_not_carried_over(stopped: Callable[..., Path], pictures: Path) -> None:
    teacher = stkd.train("cnn4", f"folder:{pictures}", out=pictures.parent / "teacher", **SMALL)
    given = {"teacher": teacher.out, "method": "crd:negatives=4+kd"}
    run = stopped(**given)
    add(pictures, 4)
    with pytest.raises(stkd.StkdError, match="this method keeps a memory of each training image"):
        train(pictures, run, data_changed="accept", **given)


def test_a_cache_of_the_images_of_before_is_refused(pictures: Path, tmp_path: Path) -> None:
    source = f"folder:{pictures}"
    teacher = stkd.train("cnn4", source, out=tmp_path / "teacher", **SMALL)
    cache = stkd.cache_teacher(str(teacher.out), source, "kd", out=tmp_path / "cache", **SMALL)
    add(pictures, 4)
    with pytest.raises(
        stkd.StkdError,
        match=r"cache was made with 16 training images .*, here it is 19 training images .*make another cache",
    ):
        stkd.distill(
            None, "cnn2", source, "kd", out=tmp_path / "run", teacher_cache=cache.out, data_changed="accept", **SMALL
        )
