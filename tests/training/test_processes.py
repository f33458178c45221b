"""Several processes of one run, as torchrun, srun and `--devices` start them: the weights of one process, and ends."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from PIL import Image

from stkd import models
from stkd.cli.main import main
from stkd.core import processes, watch, world

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
try:
    from launchers import PLUGIN, Ended, Run, alone, devices, environment, srun, torchrun, words
finally:
    sys.path.remove(str(BENCHMARKS))

pytestmark = pytest.mark.services

LONGEST = 30.0
"""Seconds in which all processes have ended once one has."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plug-in with a student, a teacher's weights, and images without labels."""
    path = tmp_path_factory.mktemp("processes")
    (path / "plugin.py").write_text(PLUGIN)
    torch.manual_seed(3)
    torch.save(models.create("cnn2", num_classes=10, in_channels=1).state_dict(), path / "teacher.pth")
    (path / "more").mkdir()
    for k in range(20):
        Image.fromarray(np.random.default_rng(k).integers(0, 256, (8, 8), np.uint8)).save(path / "more" / f"{k}.png")
    return path


@pytest.fixture
def here(folder: Path, forget: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A run in this process, as its environment says."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(watch, "_LEAVE", 1e6)  # after which a process that waits for ever is ended
    monkeypatch.setattr(world, "_world", None)
    monkeypatch.setattr(processes, "_speaks", None)

    def run(folder: Path, *command: str, **more: str) -> Ended:
        for name in (
            "RANK",
            "LOCAL_RANK",
            "GROUP_RANK",
            "WORLD_SIZE",
            "LOCAL_WORLD_SIZE",
            "MASTER_ADDR",
            "MASTER_PORT",
        ):
            monkeypatch.delenv(name, raising=False)
        for name in ("ACCIDENT", "AT_RANK", "AT_STEP"):
            monkeypatch.delenv(name, raising=False)
        for name, value in more.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(watch, "_numbers", count())
        capsys.readouterr()
        try:
            code = main(list(command))
        except ValueError:  # a bug, whose traceback follows
            code = 1
        finally:
            if world._world is not None:  # close all connections, as the end of a process does
                dist.destroy_process_group()
                world._world._control = None
                gc.collect()
            world._world = processes._speaks = None
        return Ended((code,), *capsys.readouterr(), 0.0)

    return run


@pytest.fixture
def of_two(here: Run) -> Run:
    """A run of two processes: this one is rank 0, the other is started."""

    def run(folder: Path, *command: str, **more: str) -> Ended:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        meeting = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **more}
        given: dict[str, Any] = {"cwd": folder, "env": environment(**meeting, RANK="1", LOCAL_RANK="1"), "text": True}
        given |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-m", "stkd", *command], **given) as other:
            ended = here(folder, *command, **meeting, RANK="0", LOCAL_RANK="0")
            out, err = other.communicate(timeout=60)
        return Ended((*ended.codes, other.returncode), ended.out + out, ended.err + err, 0.0)

    return run


def weights(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "checkpoints" / "last.pt", weights_only=True)["student"]
    return state


def assert_same_run(one: Path, other: Path, tolerance: float) -> None:
    for (name, expected), found in zip(weights(one).items(), weights(other).values(), strict=True):
        torch.testing.assert_close(found, expected, atol=tolerance, rtol=0, msg=lambda text, n=name: f"{n}: {text}")
    for row, expected_row in zip(
        *([json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()] for run in (other, one)),
        strict=True,
    ):
        assert row.keys() == expected_row.keys()
        for name, value in row.items():
            if name not in ("seconds", "images_per_s"):
                assert value == pytest.approx(expected_row[name], abs=1e-5), name


@pytest.fixture(scope="module")
def one(folder: Path) -> Path:
    """The run of one process."""
    made = alone(folder, *words("one"))
    assert made.codes == (0,), made.err
    return folder / "one"


@pytest.mark.parametrize(
    "run", [devices(2), devices(4), torchrun, srun], ids=["devices", "four-devices", "torchrun", "srun"]
)
def test_every_launcher_gives_the_weights_of_one_process(
    run: Run, folder: Path, one: Path, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id
    made = run(folder, *words(name))
    assert set(made.codes) == {0}, made.err
    assert made.lines == []
    assert made.out.count("\n") == 1
    assert made.out.startswith(f"{name}: test accuracy")
    assert_same_run(one, folder / name, 1e-9)


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("stkd:temperature=2", {"precision": "32", "mix": "cutmix", "real": 0.3, "clip-norm": 1, "ema": 0.9}),
        ("crd:negatives=16,weight=0.1+vid+rkd+ofd+dist", {"real": 0.5, "mix": "mixup", "class-weights": "balanced"}),
        ("ft:weight=1", {"train-images": 63, "optimizer": "adamw"}),
        ("mlkd", {"train-images": 63}),
        ("stkd", {"freeze": 1, "unlabelled": "more"}),
    ],
    ids=["float32", "modules", "two-stages", "strong-view", "frozen-unlabelled"],
)
def test_every_method_has_the_losses_of_the_whole_batch(
    method: str, options: dict[str, object], folder: Path, here: Run, of_two: Run, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id
    for run, out in ((here, f"{name}-one"), (of_two, f"{name}-two")):
        made = run(folder, *words(out, method=method, **options))
        assert set(made.codes) == {0}, made.err
    assert_same_run(folder / f"{name}-one", folder / f"{name}-two", 1e-9 if "precision" not in options else 1e-5)


def test_a_peer_is_trained_by_all(folder: Path, here: Run, of_two: Run) -> None:
    def command(out: str) -> list[str]:
        given = words(out, method="dml", model="plain")
        for flag in ("--student", "--teacher", "--teacher-weights"):
            place = given.index(flag)
            del given[place : place + 2]
        return ["train", *given[1:]]

    for run, out in ((here, "dml-one"), (of_two, "dml-two")):
        made = run(folder, *command(out))
        assert set(made.codes) == {0}, made.err
    assert_same_run(folder / "dml-one", folder / "dml-two", 1e-9)


def test_a_checkpoint_goes_on_with_any_number(folder: Path, one: Path, here: Run, of_two: Run) -> None:
    """One process begins, two go on, four end."""
    for run, step, codes in ((here, "2", (143,)), (of_two, "3", (143, 143))):
        rank = str(len(codes) - 1)
        stopped = run(folder, *words("changing"), ACCIDENT="SIGTERM", AT_RANK=rank, AT_STEP=step)
        assert stopped.codes == codes, stopped.err
        assert len(stopped.lines) == 1
        by = "stopped by SIGTERM to rank 1 at epoch" if len(codes) > 1 else "stopped at epoch"
        assert by in stopped.lines[0]
    made = devices(4)(folder, *words("changing"))
    assert made.codes == (0,), made.err
    assert_same_run(one, folder / "changing", 1e-9)


def test_batch_normalisation_is_warned_of(folder: Path, of_two: Run) -> None:
    made = of_two(folder, *words("normalised", student="cnn2", epochs=1))
    assert made.codes == (0, 0), made.err
    (line,) = made.lines
    assert "batch normalisation of the TinyCNN is over the images of each of 2 processes" in line


SAID = {
    "kill": "stkd: error: rank {} ended without a word: it was killed, or its machine or memory failed",
    "SIGTERM": "stkd: stopped by SIGTERM to rank {} at epoch 1, step",
    "error": "stkd: rank {}: ValueError: a model of ours fails",
    "line": "stkd: rank {}: error: this image cannot be read",
    "exit": "stkd: rank {}: error: what it called, such as a plug-in, ended it by sys.exit(0)",
}
"""Lines of which each accident has exactly one."""


def assert_told(ended: Ended, accident: str, rank: int, run: Path) -> None:
    """One line says what happened to whom, another one at most that a checkpoint was written."""
    assert sum(line.startswith(SAID[accident].format(rank)) for line in ended.lines) == 1, ended.err
    assert len(ended.lines) <= 2
    assert sum("checkpoint written" in line for line in ended.lines) == (rank == 1), ended.err
    assert "onnection closed" not in ended.err
    assert (run / "checkpoints" / "last.pt").exists() == ((accident, rank) != ("kill", 0))


@pytest.mark.parametrize(
    ("name", "run", "accident", "rank", "codes"),
    [
        ("devices-kill", devices(2), "kill", 1, (1,)),
        ("devices-kill-first", devices(2), "kill", 0, (-9,)),
        ("srun-kill", srun, "kill", 1, (1, -9)),
        ("srun-SIGTERM", srun, "SIGTERM", 1, (143, 143)),
        ("srun-error", srun, "error", 1, (1, 1)),
        ("srun-line", srun, "line", 0, (2, 2)),
        ("devices-exit", devices(2), "exit", 1, (2,)),
        ("torchrun-SIGTERM", torchrun, "SIGTERM", 1, (1,)),
    ],
)
def test_the_end_of_one_is_the_end_of_all(
    name: str, run: Run, accident: str, rank: int, codes: tuple[int, ...], folder: Path, one: Path, here: Run
) -> None:
    ended = run(folder, *words(name), ACCIDENT=accident, AT_RANK=str(rank), AT_STEP="3")
    assert ended.codes == codes, ended.err
    assert_told(ended, accident, rank, folder / name)
    assert 0 < ended.seconds < LONGEST
    if name in ("devices-kill", "srun-line"):
        assert here(folder, *words(name)).codes == (0,)
        assert_same_run(one, folder / name, 1e-9)


def test_a_signal_in_the_last_step_is_not_forgotten(folder: Path, one: Path, of_two: Run) -> None:
    ended = of_two(folder, *words("late"), ACCIDENT="SIGTERM", AT_RANK="1", AT_STEP="8")
    assert ended.codes == (143, 143)
    (line,) = ended.lines
    assert line.startswith("stkd: stopped by SIGTERM to rank 1 after the last epoch; checkpoint written to ")
    assert not (folder / "late" / "result.json").exists()
    assert of_two(folder, *words("late")).codes == (0, 0)
    assert_same_run(one, folder / "late", 1e-9)


@pytest.mark.parametrize(("accident", "codes"), [("kill", (1, -9)), ("error", (1, 1))])
def test_the_first_process_ends_with_the_second(
    accident: str, codes: tuple[int, int], folder: Path, of_two: Run
) -> None:
    name = f"first-{accident}"
    ended = of_two(folder, *words(name), ACCIDENT=accident, AT_RANK="1", AT_STEP="3")
    assert ended.codes == codes, ended.err
    assert_told(ended, accident, 1, folder / name)


def test_a_loss_that_is_not_finite_in_one_is_so_in_all(folder: Path, of_two: Run) -> None:
    ended = of_two(folder, *words("nan"), ACCIDENT="nan", AT_RANK="1", AT_STEP="3")
    assert ended.codes == (2, 2)
    (line,) = ended.lines
    assert "the loss became NaN or infinite at epoch 1, step 3" in line


def test_a_signal_to_all_is_one(folder: Path, one: Path, here: Run) -> None:
    """As a terminal sends it, and torchrun after it."""
    given = [sys.executable, "-m", "stkd", *words("all"), "--devices", "2"]
    with (folder / "err").open("w+") as err:
        running = subprocess.Popen(given, cwd=folder, env=environment(SLOW="0.2"), stderr=err, start_new_session=True)
        while not (folder / "all" / "env.json").exists():
            time.sleep(0.1)
        time.sleep(1)
        for _ in range(3):
            os.killpg(running.pid, signal.SIGINT)
            time.sleep(0.05)
        assert running.wait(60) == 130
    lines = [line for line in (folder / "err").read_text().splitlines() if "note: " not in line]
    assert len(lines) == 1
    assert "stopped by SIGINT" in lines[0]
    assert here(folder, *words("all")).codes == (0,)
    assert_same_run(one, folder / "all", 1e-9)


@pytest.mark.parametrize(
    ("run", "options", "said"),
    [
        (devices(2), {"teacher-weights": "nowhere.pth"}, "nowhere.pth"),
        (torchrun, {"lr": -1}, "stkd: error: lr must be a positive number"),
        (srun, {"batch-size": 1}, "2 processes cannot share a batch of 1"),
        (srun, {"preflight": "warn"}, "the teacher is right on"),
    ],
    ids=["devices", "torchrun", "srun", "preflight"],
)
def test_an_error_before_training_is_said_once(run: Run, options: dict[str, object], said: str, folder: Path) -> None:
    ended = run(folder, *words("refused", **options))
    assert set(ended.codes) <= {1, 2}
    assert [said in line for line in ended.lines if "warning: " not in line] == [True], ended.err
