from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import stkd as package
from stkd.core.errors import LaunchError
from stkd.core.processes import check_launch, process_rank

Environment = dict[str, str]
NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_ID")
TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
SRUN = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0"}
REFUSED: dict[str, tuple[Environment, int, str]] = {
    "torchrun-without-devices": (TORCHRUN, 1, "2 processes (WORLD_SIZE) for --devices 1"),
    "torchrun-first": ({**TORCHRUN, "RANK": "0", "LOCAL_RANK": "0"}, 1, "2 processes (WORLD_SIZE) for --devices 1"),
    "torchrun-other-number": (TORCHRUN, 4, "2 processes (WORLD_SIZE) for --devices 4"),
    "torchrun-two-machines": ({**TORCHRUN, "LOCAL_WORLD_SIZE": "1"}, 2, "started 2 processes"),
    "torchrun-of-one": ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}, 2, "started 1 processes"),
    "rank-alone": ({"RANK": "1"}, 1, "RANK is set without WORLD_SIZE"),
    "rank-0-alone": ({"RANK": "0"}, 1, "RANK is set without WORLD_SIZE"),
    "local-rank-alone": ({"LOCAL_RANK": "0"}, 1, "LOCAL_RANK is set without WORLD_SIZE"),
    "rank-without-local-rank": ({"RANK": "0", "WORLD_SIZE": "2"}, 2, "RANK is set without LOCAL_RANK"),
    "size-alone": ({"WORLD_SIZE": "2"}, 1, "2 processes (WORLD_SIZE) for --devices 1"),
    "word": ({"RANK": "abc", "WORLD_SIZE": "1"}, 1, "RANK=abc is not a number"),
    "negative": ({"LOCAL_RANK": "-1", "WORLD_SIZE": "1"}, 1, "LOCAL_RANK=-1 is not a number"),
    "beyond": ({"RANK": "2", "WORLD_SIZE": "2"}, 2, "RANK=2 is not below WORLD_SIZE=2"),
    "srun-first": (SRUN, 1, "srun started 2 tasks"),
    "srun-second": ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, 1, "srun started 2 tasks"),
    "srun-matching": (SRUN, 2, "srun started 2 tasks"),
}
ACCEPTED: dict[str, tuple[Environment, int, int]] = {
    "alone": ({}, 1, 0),
    "starts-its-own": ({}, 2, 0),
    "started-by-the-first": ({"LOCAL_RANK": "1", "WORLD_SIZE": "2", "NODE_RANK": "0"}, 2, 1),
    "torchrun-matching": (TORCHRUN, 2, 1),
    "torchrun-of-one": ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}, 1, 0),
    "container-of-one": ({"RANK": "0", "WORLD_SIZE": "1"}, 1, 0),
    "batch-script": ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, 1, 0),
    "srun-of-one": ({**SRUN, "SLURM_NTASKS": "1"}, 1, 0),
    "step-of-one": ({**SRUN, "SLURM_STEP_NUM_TASKS": "1"}, 1, 0),
}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Any:
    def launch(environment: Environment) -> None:
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return launch


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(case: tuple[Environment, int, str], launched: Any) -> None:
    environment, devices, words = case
    launched(environment)
    with pytest.raises(LaunchError) as refusal:
        check_launch(devices)
    assert words in str(refusal.value)
    assert "start the command once, without a launcher" in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(case: tuple[Environment, int, int], launched: Any) -> None:
    environment, devices, rank = case
    launched(environment)
    check_launch(devices)
    assert process_rank() == rank


@pytest.mark.parametrize("environment", [{"RANK": "1"}, {"LOCAL_RANK": "1"}, {"RANK": "abc", "WORLD_SIZE": "9"}])
def test_a_rank_of_nothing_is_the_first(environment: Environment, launched: Any) -> None:
    launched(environment)
    assert process_rank() == 0


TRAIN = ["train", "--data", "digits", "--model", "cnn2"]
DISTILL = ["--data", "digits", "--teacher-weights", "nowhere"]
STUDENT = [*DISTILL, "--student", "cnn2"]
COMMANDS = {
    "train": TRAIN,
    "distill": ["distill", *STUDENT],
    "cache": ["cache", *DISTILL],
    "many": ["many", "students.yaml", *DISTILL],
    "tune": ["tune", *STUDENT],
    "compare": ["compare", *DISTILL, "--students", "cnn2", "--methods", "kd"],
}


@pytest.mark.parametrize("rank", ["0", "1"])
@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_each_process_says_one_line_and_nothing_is_written(
    words: list[str], rank: str, launched: Any, stkd: Any, tmp_path: Path
) -> None:
    if words[0] == "tune":
        pytest.importorskip("optuna", reason="Optuna is not installed (stkd[tune])")
    launched({"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"})
    answer = stkd(*words, "--out", tmp_path / "run")
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.startswith("stkd: error: a launcher started 2 processes")
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_from_python(launched: Any, tmp_path: Path) -> None:
    launched({"RANK": "1"})
    with pytest.raises(LaunchError, match="RANK is set without WORLD_SIZE"):
        package.train("cnn2", "digits", out=tmp_path / "run", epochs=1)


@pytest.mark.services
def test_torchrun(tmp_path: Path) -> None:
    """Two processes of torchrun are refused without --devices 2, and train together with it."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "stkd"]
    short = ["--epochs", "1", "--train-images", "64", "--accelerator", "cpu", "--compile", "none"]

    def launch(*words: str) -> subprocess.CompletedProcess[str]:
        command = [*launcher, *TRAIN, *short, "--out", str(tmp_path / "run"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})

    refused = launch()
    assert refused.returncode != 0
    assert "stkd: error: a launcher started 2 processes (WORLD_SIZE) for --devices 1" in refused.stderr
    assert not (tmp_path / "run").exists()
    together = launch("--devices", "2")
    assert together.returncode == 0, together.stderr
    assert len(together.stdout.splitlines()) == 1
    assert (tmp_path / "run" / "model.safetensors").exists()
