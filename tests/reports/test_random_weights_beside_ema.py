"""A file with plain weights, still near their random start, and averaged ones was read for its plain ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from stkd.models import create, load


def test_the_averaged_weights_teach(teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    trained = load_file(teacher_run / "model.safetensors")
    random = create("cnn4", num_classes=10, in_channels=1).state_dict()
    torch.save({"state_dict": random, "state_dict_ema": trained, "epoch": 1}, tmp_path / "timm.pth.tar")
    command = (
        "distill",
        "--data",
        "digits",
        "--teacher",
        "cnn4",
        "--student",
        "cnn2",
        "--epochs",
        1,
        "--accelerator",
        "cpu",
    )
    answer = stkd(*command, "--teacher-weights", tmp_path / "timm.pth.tar", "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "these are averaged; others that fit: --teacher-weights-key state_dict" in answer.out + answer.err

    scores = {}
    for key in ("state_dict_ema", "state_dict"):
        start = ("--model", "cnn4", "--weights", tmp_path / "timm.pth.tar", "--weights-key", key, "--lr", "1e-9")
        answer = stkd(
            "train", "--data", "digits", *start, "--epochs", 1, "--accelerator", "cpu", "--out", tmp_path / key
        )
        assert answer.code == 0, answer.err
        scores[key] = json.loads((tmp_path / key / "result.json").read_text())["test"]["top1"]
    assert scores["state_dict_ema"] > 0.7 > 0.4 > scores["state_dict"]


@pytest.mark.parametrize("key", ["state_dict", "state_dict_ema"])
def test_either_is_had_by_its_key(key: str, tmp_path: Path) -> None:
    kinds = {name: create("cnn2", num_classes=4) for name in ("state_dict", "state_dict_ema")}
    torch.save({name: module.state_dict() for name, module in kinds.items()}, tmp_path / "x.pth")
    target = create("cnn2", num_classes=4)
    load(target, tmp_path / "x.pth", key=key)
    torch.testing.assert_close(target.state_dict(), kinds[key].state_dict())
