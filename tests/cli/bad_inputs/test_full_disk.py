"""A disk that fills up: one line, the last checkpoint intact, nothing half-written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from stkd.models.weights import read_state
from stkd.runs import directory
from stkd.runs.checkpoint import load_checkpoint
from stkd.runs.directory import RunDirectory

resource = pytest.importorskip("resource", reason="Windows limits no files")

SHORT = ["--epochs", "4", "--train-images", "128", "--precision", "32", "--accelerator", "cpu"]


def _full_after(monkeypatch: pytest.MonkeyPatch, epochs: int, room: int) -> None:
    """From the end of an epoch on no file may grow beyond `room` bytes, which is how a full disk looks to a program."""
    log = RunDirectory.log

    def log_and_fill(self: RunDirectory, rows: list[dict[str, Any]]) -> None:
        log(self, rows)
        if len(rows) == epochs:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

    monkeypatch.setattr(RunDirectory, "log", log_and_fill)


@pytest.fixture
def disk() -> Iterator[None]:
    """Room again after the test."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("disk")
@pytest.mark.parametrize(("epochs", "epoch_kept"), [(1, 0), (2, 1), (4, 3)])
def test_full_disk(
    epochs: int, epoch_kept: int, tmp_path: Path, stkd: Any, temporaries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", "--data", "digits", "--model", "cnn2", *SHORT]
    assert stkd(*command, "--out", tmp_path / "whole").code == 0
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        _full_after(patch, epochs, room=2000)
        answer = stkd(*command, "--out", tmp_path / "run")
    assert answer.code == 2
    assert answer.err.startswith("stkd: error: the disk is full")
    assert "free some space and run the same command again" in answer.err
    assert answer.err.count("\n") == 1
    assert not temporaries(tmp_path)
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    assert (load_checkpoint(last)["epoch"] if last.exists() else 0) == epoch_kept

    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert stkd(*command, "--out", tmp_path / "run").code == 0
    whole, run = (read_state(tmp_path / name / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(whole[name], run[name]) for name in whole)


@pytest.mark.usefixtures("disk")
def test_full_disk_at_the_final_weights(
    tmp_path: Path, stkd: Any, temporaries: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", "--data", "digits", "--model", "cnn2", *SHORT, "--out", tmp_path / "run"]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    save = directory.save_model

    def fill_and_save(*args: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
        save(*args)

    with monkeypatch.context() as patch:
        patch.setattr(directory, "save_model", fill_and_save)
        answer = stkd(*command)
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert answer.code == 2
    assert answer.err.startswith("stkd: error: the disk is full")
    assert not temporaries(tmp_path)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert stkd(*command).code == 0


def test_temporary_files_of_a_killed_process_are_removed(tmp_path: Path, stkd: Any, temporaries: Any) -> None:
    command = ["train", "--data", "digits", "--model", "cnn2", "--train-images", "64"]
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text("")
    for name in (".config.yaml.abc.part", "checkpoints/.last.pt.abc.part"):
        (tmp_path / "run" / name).write_text("half")
    assert stkd(*command, "--epochs", "1", "--out", tmp_path / "run").code == 0
    assert not temporaries(tmp_path)
