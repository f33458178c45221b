from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import stkd as package
from stkd.core import processes
from stkd.core.errors import LaunchError
from stkd.core.processes import check_alone, launch_of, process_rank

Environment = dict[str, str]
TORCHRUN = {
    "RANK": "1",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}
SRUN = {
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "0",
    "SLURM_NTASKS": "2",
    "SLURM_STEP_NUM_TASKS": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
}
SRUN_OF_TWO_MACHINES = {**SRUN, "SLURM_LOCALID": "0", "SLURM_NODEID": "1", "SLURM_STEP_TASKS_PER_NODE": "1(x2)"}
REFUSED: dict[str, tuple[Environment, int | None, str]] = {
    "torchrun-other-number": (TORCHRUN, 4, "a launcher started 2 processes for --devices 4; leave out --devices"),
    "torchrun-one-device": (TORCHRUN, 1, "a launcher started 2 processes for --devices 1"),
    "torchrun-of-one": ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}, 2, "started 1 process for --devices 2"),
    "rank-alone": ({"RANK": "1"}, None, "RANK is set without WORLD_SIZE"),
    "rank-0-alone": ({"RANK": "0"}, None, "RANK is set without WORLD_SIZE"),
    "local-rank-alone": ({"LOCAL_RANK": "0"}, None, "LOCAL_RANK is set without WORLD_SIZE"),
    "rank-without-local-rank": ({"RANK": "0", "WORLD_SIZE": "2"}, 2, "WORLD_SIZE=2 is set without LOCAL_RANK"),
    "size-alone": ({"WORLD_SIZE": "2"}, None, "WORLD_SIZE=2 is set without RANK"),
    "no-address": ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}, 2, "without MASTER_ADDR and MASTER_PORT"),
    "uneven": ({**TORCHRUN, "WORLD_SIZE": "3"}, None, "WORLD_SIZE=3, LOCAL_WORLD_SIZE=2 and LOCAL_RANK=1 do not fit"),
    "word": ({"RANK": "abc", "WORLD_SIZE": "1"}, None, "RANK=abc is not a number"),
    "long": ({"RANK": "9" * 5000, "WORLD_SIZE": "1"}, None, "is not a number"),
    "negative": ({"LOCAL_RANK": "-1", "WORLD_SIZE": "1"}, None, "LOCAL_RANK=-1 is not a number"),
    "beyond": ({"RANK": "2", "WORLD_SIZE": "2"}, 2, "RANK=2 is not below WORLD_SIZE=2"),
    "srun-other-number": (SRUN, 4, "srun started 2 processes for --devices 4"),
    "srun-beyond": ({**SRUN, "SLURM_PROCID": "5"}, None, "SLURM_PROCID=5 of 2 tasks and SLURM_LOCALID=1 do not fit"),
    "srun-no-place": ({"SLURM_PROCID": "1", "SLURM_NTASKS": "2"}, None, "SLURM_LOCALID=None do not fit each other"),
    "srun-uneven": (
        {**SRUN, "SLURM_STEP_NUM_TASKS": "3", "SLURM_STEP_TASKS_PER_NODE": "2,1"},
        None,
        "srun started [2, 1] tasks on its machines",
    ),
    "srun-other-sum": ({**SRUN, "SLURM_STEP_TASKS_PER_NODE": "2(x2)"}, None, "srun started 2 tasks, and"),
    "srun-words": ({**SRUN, "SLURM_STEP_TASKS_PER_NODE": "many"}, None, "is no list of tasks such as 4(x2)"),
    "srun-nowhere": ({**SRUN_OF_TWO_MACHINES, "SLURM_STEP_NODELIST": ""}, None, "does not say on which machines"),
}
ACCEPTED: dict[str, tuple[Environment, int | None, tuple[int, int, int, int]]] = {
    "alone": ({}, None, (0, 1, 0, 1)),
    "starts-its-own": ({}, 2, (0, 1, 0, 1)),
    "torchrun": (TORCHRUN, None, (1, 2, 1, 2)),
    "torchrun-and-devices": (TORCHRUN, 2, (1, 2, 1, 2)),
    "torchrun-two-machines": ({**TORCHRUN, "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}, None, (1, 2, 0, 1)),
    "torchrun-inside-srun": ({**TORCHRUN, **SRUN, "SLURM_PROCID": "0"}, None, (1, 2, 1, 2)),
    "torchrun-of-one": ({"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}, 1, (0, 1, 0, 1)),
    "container-of-one": ({"RANK": "0", "WORLD_SIZE": "1"}, None, (0, 1, 0, 1)),
    "srun": (SRUN, None, (1, 2, 1, 2)),
    "srun-first": ({**SRUN, "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, 2, (0, 2, 0, 2)),
    "srun-two-machines": (SRUN_OF_TWO_MACHINES, None, (1, 2, 0, 1)),
    "batch-script": ({"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NTASKS": "4"}, None, (0, 1, 0, 1)),
    "srun-of-one": ({**SRUN, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, None, (0, 1, 0, 1)),
}


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Any:
    def launch(environment: Environment) -> None:
        for name in {*TORCHRUN, *SRUN, "SLURM_JOB_NODELIST", "SLURM_TASKS_PER_NODE"}:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return launch


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_contradictions_are_one_line(case: tuple[Environment, int | None, str], launched: Any) -> None:
    environment, devices, words = case
    launched(environment)
    with pytest.raises(LaunchError) as refusal:
        launch_of(devices)
    assert words in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("case", ACCEPTED.values(), ids=ACCEPTED)
def test_the_launchers_world_is_used(case: Any, launched: Any) -> None:
    environment, devices, (rank, size, local_rank, local_size) = case
    launched(environment)
    launch = launch_of(devices)
    assert (launch.rank, launch.size, launch.local_rank, launch.local_size) == (rank, size, local_rank, local_size)
    assert process_rank() == rank


@pytest.mark.parametrize(
    ("names", "first"), [("gpu[03-04]", "gpu03"), ("a,b", "a"), ("n[1,5-7],m", "n1"), ("one", "one")]
)
def test_tasks_meet_on_the_first_machine(names: str, first: str, launched: Any) -> None:
    launched({**SRUN_OF_TWO_MACHINES, "SLURM_STEP_NODELIST": names})
    assert launch_of(None).address == first


def test_steps_of_a_job_meet_at_different_ports(launched: Any) -> None:
    ports = set()
    for step in ("0", "1", "2"):
        launched({**SRUN, "SLURM_STEP_ID": step})
        launch = launch_of(None)
        assert launch.address == "127.0.0.1"
        ports.add(launch.port)
    assert len(ports) == 3
    launched({**SRUN, "MASTER_PORT": "29777", "MASTER_ADDR": "there"})
    assert (launch_of(None).address, launch_of(None).port) == ("there", 29777)


@pytest.mark.parametrize("environment", [{"RANK": "1"}, {"LOCAL_RANK": "1"}, {"RANK": "abc", "WORLD_SIZE": "9"}])
def test_a_rank_of_nothing_is_the_first(environment: Environment, launched: Any) -> None:
    launched(environment)
    assert process_rank() == 0


def test_work_of_one_process(launched: Any) -> None:
    launched({})
    check_alone()
    check_alone(1)
    with pytest.raises(LaunchError, match="this command takes one device"):
        check_alone(2)
    launched(TORCHRUN)
    with pytest.raises(LaunchError, match="a launcher started 2 processes, and this command is one"):
        check_alone()


def test_who_speaks(launched: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before processes have met the first one does, afterwards the one that it is about."""
    monkeypatch.setattr(processes, "_speaks", None)
    launched(TORCHRUN)
    assert not processes.speaks()
    launched({})
    assert processes.speaks()
    assert processes.said_by() == ""
    launched(TORCHRUN)
    processes.speak(True)
    assert processes.speaks()
    assert processes.said_by() == "rank 1: "
    processes.speak(False)
    assert not processes.speaks()


DISTILL = ["--data", "digits", "--teacher-weights", "nowhere"]
STUDENT = [*DISTILL, "--student", "cnn2"]
COMMANDS = {
    "cache": ["cache", *DISTILL],
    "probe": ["probe", *DISTILL],
    "many": ["many", "students.yaml", *DISTILL],
    "tune": ["tune", *STUDENT],
    "compare": ["compare", *DISTILL, "--students", "cnn2", "--methods", "kd"],
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_the_first_process_says_one_line_and_nothing_is_written(
    words: list[str], launched: Any, stkd: Any, tmp_path: Path
) -> None:
    if words[0] == "tune":
        pytest.importorskip("optuna", reason="Optuna is not installed (stkd[tune])")
    for rank, lines in (("0", 1), ("1", 0)):
        launched({**TORCHRUN, "RANK": rank, "LOCAL_RANK": rank})
        answer = stkd(*words, "--out", tmp_path / "run")
        assert answer.code == 2
        assert answer.out == ""
        assert answer.err.count("\n") == lines
        assert "a launcher started 2 processes, and this command is one" in answer.err or rank == "1"
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("command", ["train", "distill"])
def test_a_contradiction_is_found_before_anything_is_loaded(
    command: str, launched: Any, stkd: Any, tmp_path: Path
) -> None:
    launched({"RANK": "abc"})
    words = {"train": ["--data", "digits", "--model", "cnn2"], "distill": STUDENT}[command]
    answer = stkd(command, *words, "--out", tmp_path / "run")
    assert answer.code == 2
    assert answer.err == (
        "stkd: error: RANK=abc is not a number; unset it, and start the command once, without a launcher; --devices N "
        "starts N processes\n"
    )
    assert not (tmp_path / "run").exists()


def test_from_python(launched: Any, tmp_path: Path) -> None:
    launched({"RANK": "1"})
    with pytest.raises(LaunchError, match="RANK is set without WORLD_SIZE"):
        package.train("cnn2", "digits", out=tmp_path / "run", epochs=1)
