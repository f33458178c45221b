"""The processes of one run, as torchrun, `--devices` and a stand-in of srun start them, and accidents in one of them.

`processes.py` measures with them, and tests/training/test_processes.py holds what they have to give.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PLUGIN", "Ended", "alone", "devices", "environment", "srun", "torchrun", "words"]

PLUGIN = '''
import os, signal, sys, time
from pathlib import Path

from torch import nn
from torch.nn import functional as F

from stkd.core.errors import StkdError
from stkd.models.registry import register


def given(name):
    return os.environ.get(name, "0")


def accident(kind):
    Path("accident").write_text(str(time.time()))
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "SIGTERM":
        signal.raise_signal(signal.SIGTERM)
    if kind == "error":
        raise ValueError("a model of ours fails")
    if kind == "line":
        raise StkdError("this image cannot be read")
    if kind == "exit":
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
            if self.made == int(given("AT_STEP")) and given("RANK") == given("AT_RANK"):
                accident(given("ACCIDENT"))
                if given("ACCIDENT") == "nan":
                    x = x * float("nan")
            time.sleep(float(given("SLOW")))
        x = F.gelu(self.two(F.gelu(self.one(x))))
        return self.fc(x.mean((2, 3)))


@register("plain", "two convolutions")
def plain(*, num_classes, in_channels):
    return Plain(num_classes, in_channels)
'''
"""A student to which something happens: ACCIDENT in step AT_STEP (from 1) of the process AT_RANK."""

_LONGEST = 300.0
"""Seconds after which a run does not end any more."""


@dataclass(frozen=True)
class Ended:
    """What the processes of a run said, and how they ended.

    Attributes:
        codes: Exit code of each that was started here.
        out, err: What they wrote, together.
        seconds: From the accident to the end of the last, those that they started included.
    """

    codes: tuple[int, ...]
    out: str
    err: str
    seconds: float

    @property
    def lines(self) -> list[str]:
        """Standard error, without the notes of a training and what others say."""
        return [line for line in self.err.splitlines() if line.startswith("stkd: ") and "note: " not in line]


Run = Callable[..., Ended]
"""Runs a command of stkd in a folder, with environment variables."""


def environment(**more: str) -> dict[str, str]:
    """This process's environment without a launcher's variables, with one thread a process."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    own = {name: value for name, value in os.environ.items() if name not in names and not name.startswith("SLURM")}
    return {**own, "OMP_NUM_THREADS": "1", **more}


def alone(folder: Path, *command: str, **more: str) -> Ended:
    """One process."""
    return _together(folder, [[*_STKD, *command]], [environment(**more)])


def devices(number: int) -> Run:
    """A process that starts the others."""

    def run(folder: Path, *command: str, **more: str) -> Ended:
        return alone(folder, *command, "--devices", str(number), **more)

    return run


def torchrun(folder: Path, *command: str, **more: str) -> Ended:
    """Two processes of torchrun; the exit code is its own."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return _together(folder, [[*launcher, "-m", "stkd", *command]], [environment(**more)])


def srun(folder: Path, *command: str, **more: str) -> Ended:
    """Two processes with the environment that srun gives to two tasks on this machine."""
    step = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2"}
    step |= {"SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_NODEID": "0", "SLURM_STEP_NODELIST": "here"}
    tasks = [environment(**more, **step, SLURM_PROCID=str(i), SLURM_LOCALID=str(i)) for i in range(2)]
    return _together(folder, [[*_STKD, *command]] * 2, tasks)


_STKD = [sys.executable, "-m", "stkd"]


def words(out: str, **options: object) -> list[str]:
    """A distillation of a few steps, whose batches two processes do not divide; `teacher.pth` is of a cnn2."""
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


def _together(folder: Path, commands: Sequence[Sequence[str]], environments: Sequence[dict[str, str]]) -> Ended:
    """Run commands at the same time, until the last process has ended."""
    accident = folder / "accident"
    accident.unlink(missing_ok=True)
    with (folder / "out").open("w+") as out, (folder / "err").open("w+") as err:
        running = [
            subprocess.Popen(command, cwd=folder, env=env, stdout=out, stderr=err, start_new_session=True)
            for command, env in zip(commands, environments, strict=True)
        ]
        began = time.monotonic()
        try:
            while any(map(_runs, running)):
                if time.monotonic() - began > _LONGEST:
                    raise TimeoutError(f"{' '.join(commands[0])} has not ended after {_LONGEST:g} seconds")
                time.sleep(0.05)
            ended = time.time()
        finally:
            for process in running:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
    return Ended(
        tuple(process.wait() for process in running),
        (folder / "out").read_text(),
        (folder / "err").read_text(),
        ended - float(accident.read_text()) if accident.exists() else 0.0,
    )


def _runs(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process, or one that it started, has not ended."""
    if process.poll() is None:
        return True
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True
