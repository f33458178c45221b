"""Two processes of one run, as the command line starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def _train(out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = ["train", "--data", "digits", "--model", "cnn4", "--epochs", "1", "--precision", "32", "--out", str(out)]
    return subprocess.run(
        [sys.executable, "-m", "stkd", *command, "--accelerator", "cpu", *options],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )


@pytest.mark.services
def test_two_processes_train_like_one_and_write_once(tmp_path: Path) -> None:
    done = _train(tmp_path / "two", "--devices", "2", "--strategy", "ddp")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert _train(tmp_path / "one").returncode == 0
    one, two = (json.loads((tmp_path / name / "metrics.jsonl").read_text()) for name in ("one", "two"))
    # the same batches; batch norm sees half of each, so the losses are near and not equal
    assert abs(one["train_loss"] - two["train_loss"]) < 0.02 * one["train_loss"]


@pytest.mark.services
def test_error_before_training_is_said_once(tmp_path: Path) -> None:
    done = _train(tmp_path / "run", "--devices", "2", "--strategy", "ddp", "--lr", "-1")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
