"""Several processes of one run, as torchrun, srun and `--devices` start them: the weights of one process, and ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stkd import models

pytestmark = pytest.mark.services

PLUGIN = '''
import os, signal, sys, time

from torch import nn
from torch.nn import functional as F

from stkd.core.errors import StkdError
from stkd.models.registry import register

RANK, AT, ACCIDENT = (os.environ.get(name, "0") for name in ("AT_RANK", "AT_STEP", "ACCIDENT"))


def accident():
    if ACCIDENT == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if ACCIDENT == "SIGTERM":
        signal.raise_signal(signal.SIGTERM)
    if ACCIDENT == "error":
        raise ValueError("a model of ours fails")
    if ACCIDENT == "line":
        raise StkdError("this image cannot be read")
    if ACCIDENT == "exit":
        sys.exit(0)


class Plain(nn.Module):
    """Without batch normalisation."""

    feature_taps = ("one", "two")
    preact_taps = ("one", "two")

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.one = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.two = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.fc = nn.Linear(8, num_classes)
        self.made = 0

    def forward(self, x):
        if self.training:
            self.made += 1
            if self.made == int(AT) and os.environ["RANK"] == RANK:
                accident()
            if ACCIDENT == "nan" and self.made == int(AT) and os.environ["RANK"] == RANK:
                x = x * float("nan")
            time.sleep(float(os.environ.get("SLOW", "0")))
        x = F.gelu(self.two(F.gelu(self.one(x))))
        return self.fc(x.mean((2, 3)))


@register("plain", "two convolutions")
def plain(*, num_classes, in_channels):
    return Plain(num_classes, in_channels)
'''

LONGEST = 30.0
"""Seconds in which all processes have ended once one has."""


@dataclass(frozen=True)
class Ended:
    """What the processes of a run said, and how they ended.

    Attributes:
        codes: Exit code of each.
        out, err: What they wrote, together.
        seconds: From the accident to the end of the last.
    """

    codes: tuple[int, ...]
    out: str
    err: str
    seconds: float = 0.0

    @property
    def lines(self) -> list[str]:
        """Standard error, without the notes of a training and those of the libraries of torch."""
        return [line for line in self.err.splitlines() if line.startswith("stkd: ") and "note: " not in line]


Run = Callable[..., Ended]


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


def words(out: str, **options: object) -> list[str]:
    """A distillation of a few steps, whose batches two processes do not divide."""
    given: dict[str, object] = {
        "data": "digits",
        "plugin": "plugin.py",
        "student": "plain",
        "teacher": "cnn2",
        "teacher-weights": "teacher.pth",
        "out": out,
        "batch-size": 63,
        "train-images": 250,
        "epochs": 2,
        "lr": 0.1,
        "accelerator": "cpu",
        "compile": "none",
        "precision": "64",
        "preflight": "off",
        **options,
    }
    return ["distill", *(word for name, value in given.items() for word in (f"--{name}", str(value)))]


def environment(**more: str) -> dict[str, str]:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    own = {name: value for name, value in os.environ.items() if name not in names and not name.startswith("SLURM")}
    return {**own, "OMP_NUM_THREADS": "1", **more}


def together(folder: Path, commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]]) -> Ended:
    """Run commands at the same time, until the last has ended."""
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        running = [
            subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=err, start_new_session=True)
            for command, env in zip(commands, environments, strict=True)
        ]
        first: float | None = None
        began = time.monotonic()
        while any(map(runs, running)):
            if first is None and any(process.poll() is not None for process in running):
                first = time.monotonic()
            assert time.monotonic() - began < 300
            time.sleep(0.05)
        seconds = 0.0 if first is None else time.monotonic() - first
        return Ended(
            tuple(process.returncode for process in running),
            (folder / "out").read_text(),
            (folder / "err").read_text(),
            seconds,
        )


def runs(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process, or one that it started, has not ended."""
    if process.poll() is None:
        return True
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def alone(folder: Path, *command: str, **more: str) -> Ended:
    return together(folder, [[sys.executable, "-m", "stkd", *command]], [environment(**more)])


def devices(number: int) -> Run:
    def run(folder: Path, *command: str, **more: str) -> Ended:
        given = [sys.executable, "-m", "stkd", *command, "--devices", str(number)]
        return together(folder, [given], [environment(**more)])

    return run


def torchrun(folder: Path, *command: str, **more: str) -> Ended:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "stkd"]
    return together(folder, [[*launcher, *command]], [environment(**more)])


def srun(folder: Path, *command: str, **more: str) -> Ended:
    """A stand-in of srun with two tasks on this machine."""
    job = str(os.getpid())
    step = {"SLURM_JOB_ID": job, "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}
    step |= {"SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_NODEID": "0", "SLURM_STEP_NODELIST": "here"}
    tasks = [environment(**more, **step, SLURM_PROCID=str(i), SLURM_LOCALID=str(i)) for i in range(2)]
    return together(folder, [[sys.executable, "-m", "stkd", *command]] * 2, tasks)


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
    method: str, options: dict[str, object], folder: Path, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id
    for run, out in ((alone, f"{name}-one"), (devices(2), f"{name}-two")):
        made = run(folder, *words(out, method=method, **options))
        assert set(made.codes) == {0}, made.err
    assert_same_run(folder / f"{name}-one", folder / f"{name}-two", 1e-9 if "precision" not in options else 1e-5)


def test_a_peer_is_trained_by_all(folder: Path) -> None:
    def command(out: str) -> list[str]:
        given = words(out, method="dml", model="plain")
        for flag in ("--student", "--teacher", "--teacher-weights"):
            place = given.index(flag)
            del given[place : place + 2]
        return ["train", *given[1:]]

    for run, out in ((alone, "dml-one"), (devices(2), "dml-two")):
        made = run(folder, *command(out))
        assert set(made.codes) == {0}, made.err
    assert_same_run(folder / "dml-one", folder / "dml-two", 1e-9)


def test_a_checkpoint_of_two_goes_on_with_any_number(folder: Path, one: Path) -> None:
    stopped = devices(2)(folder, *words("changing"), ACCIDENT="SIGTERM", AT_RANK="1", AT_STEP="2")
    assert stopped.codes == (143,), stopped.err
    assert len(stopped.lines) == 1
    assert "stopped by SIGTERM to rank 1 at epoch 1, step" in stopped.lines[0]
    made = alone(folder, *words("changing"))
    assert made.codes == (0,), made.err
    assert_same_run(one, folder / "changing", 1e-9)


def test_batch_normalisation_is_warned_of(folder: Path) -> None:
    made = devices(2)(folder, *words("normalised", student="cnn2", epochs=1))
    assert made.codes == (0,), made.err
    (line,) = made.lines
    assert "batch normalisation of the TinyCNN is over the images of each of 2 processes" in line


@pytest.mark.parametrize(
    ("name", "run", "accident", "rank", "code", "said"),
    [
        ("killed", devices(2), "kill", "1", 1, "stkd: error: rank 1 ended without a word"),
        ("killed-first", devices(2), "kill", "0", -9, "stkd: error: rank 0 ended without a word"),
        ("killed-task", srun, "kill", "1", 1, "stkd: error: rank 1 ended without a word"),
        ("bug", devices(2), "error", "1", 1, "stkd: rank 1: ValueError: a model of ours fails"),
        ("line", devices(2), "line", "0", 2, "stkd: rank 0: error: this image cannot be read"),
        ("exit", devices(2), "exit", "1", 1, "ended it by sys.exit(0)"),
    ],
)
def test_the_end_of_one_is_the_end_of_all(
    name: str, run: Run, accident: str, rank: str, code: int, said: str, folder: Path, one: Path
) -> None:
    ended = run(folder, *words(name), ACCIDENT=accident, AT_RANK=rank, AT_STEP="3")
    assert ended.codes[0] == code, ended.err
    assert 0 not in ended.codes
    assert ended.seconds < LONGEST
    assert sum(line.startswith("stkd: ") and said in line for line in ended.lines) == 1, ended.err
    assert sum("checkpoint written" in line for line in ended.lines) == (rank == "1"), ended.err
    assert len(ended.lines) <= 2
    assert "onnection closed" not in ended.err
    assert (folder / name / "checkpoints" / "last.pt").exists() == (name != "killed-first")
    if name in ("killed", "line"):
        assert alone(folder, *words(name)).codes == (0,)
        assert_same_run(one, folder / name, 1e-9)


def test_a_loss_that_is_not_finite_in_one_is_so_in_all(folder: Path) -> None:
    ended = devices(2)(folder, *words("nan"), ACCIDENT="nan", AT_RANK="1", AT_STEP="3")
    assert ended.codes == (2,)
    (line,) = ended.lines
    assert "the loss became NaN or infinite at epoch 1, step 3" in line


def test_a_signal_to_all_is_one(folder: Path, one: Path) -> None:
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
    assert alone(folder, *words("all")).codes == (0,)
    assert_same_run(one, folder / "all", 1e-9)


def test_error_before_training_is_said_once(folder: Path) -> None:
    for run in (devices(2), torchrun, srun):
        for options, said in (
            ({"lr": -1}, "stkd: error: lr must be a positive number"),
            ({"teacher-weights": "nowhere.pth"}, "nowhere.pth"),
            ({"batch-size": 1}, "2 processes cannot share a batch of 1"),
        ):
            ended = run(folder, *words("refused", **options))
            assert set(ended.codes) <= {1, 2}
            assert [said in line for line in ended.lines] == [True], ended.err
