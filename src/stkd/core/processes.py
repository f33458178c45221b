"""The processes of one run: which of them this is, and who started them.

stkd starts the processes of `--devices N` itself. torchrun and srun start theirs, and these are taken as they are. In
all three cases the environment says the same in torchrun's names once `take_part` was called.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from .errors import LaunchError

__all__ = ["Launch", "check_alone", "launch_of", "process_rank", "said_by", "speak", "speaks"]

_ADVICE = "start the command once, without a launcher; --devices N starts N processes"


@dataclass(frozen=True)
class Launch:
    """The place of this process among those of its run.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        local_rank: Number of this process among those of its machine, from 0.
        local_size: Processes of each machine.
        by: Who started them, in words.
        address, port: Where the first one is met.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    by: str = ""
    address: str = ""
    port: int = 0


def launch_of(devices: int | None) -> Launch:
    """The place of this process, as a launcher tells it; one of one where there is no launcher.

    Args:
        devices: Devices of the run that were asked for, one process each; None takes what a launcher started.

    Raises:
        LaunchError: The environment variables of a launcher contradict each other, or what was asked for.
    """
    launch = _torchrun() or _srun() or Launch()
    if launch.by and devices is not None and devices != launch.size:
        raise LaunchError(
            f"{launch.by} started {launch.size} {'process' if launch.size == 1 else 'processes'} for --devices "
            f"{devices}; leave out --devices, or {_ADVICE}"
        )
    return launch


def check_alone(devices: int | None = None) -> None:
    """Refuse several processes for work that one process does.

    Args:
        devices: That were asked for.

    Raises:
        LaunchError: A launcher started several, or several devices were asked for.
    """
    launch = launch_of(devices)
    if launch.size > 1:
        raise LaunchError(f"{launch.by} started {launch.size} processes, and this command is one; start it once")
    if (devices or 1) > 1:
        raise LaunchError("this command takes one device; leave out --devices")


def process_rank() -> int:
    """Number of this process within its run, from 0; that of a process that nobody else belongs to is 0."""
    try:
        return (_torchrun() or _srun() or Launch()).rank
    except LaunchError:
        return 0


_speaks: bool | None = None


def speak(allowed: bool) -> None:
    """Decide whether this process says why it ends: of several that end together one does."""
    global _speaks
    _speaks = allowed


def speaks() -> bool:
    """Whether this process says why it ends; before they have met, all end for one reason and the first says it."""
    return process_rank() == 0 if _speaks is None else _speaks


def said_by() -> str:
    """In front of what this process says of itself, where it is one of several that go different ways."""
    return f"rank {process_rank()}: " if _speaks else ""


def _torchrun() -> Launch | None:
    """The place that torchrun's variables tell; None where they are not set.

    Raises:
        LaunchError: They contradict each other.
    """
    rank, local, size = _number("RANK"), _number("LOCAL_RANK"), _number("WORLD_SIZE")
    for name, value in (("RANK", rank), ("LOCAL_RANK", local)):
        if value is not None and size is None:
            raise LaunchError(f"{name} is set without WORLD_SIZE; unset it, and {_ADVICE}")
        if value is not None and size is not None and value >= size:
            raise LaunchError(f"{name}={value} is not below WORLD_SIZE={size}; {_ADVICE}")
    if size is None:
        return None
    if size == 1:
        return Launch(by="a launcher")
    for name, value in (("RANK", rank), ("LOCAL_RANK", local)):
        if value is None:
            raise LaunchError(f"WORLD_SIZE={size} is set without {name}; unset it, and {_ADVICE}")
    assert rank is not None
    assert local is not None
    here = _number("LOCAL_WORLD_SIZE") or size
    if size % here or local >= here:
        raise LaunchError(
            f"WORLD_SIZE={size}, LOCAL_WORLD_SIZE={here} and LOCAL_RANK={local} do not fit each other; start as many "
            "processes on each machine"
        )
    address, port = os.environ.get("MASTER_ADDR"), _number("MASTER_PORT")
    if address is None or port is None:
        raise LaunchError(f"WORLD_SIZE={size} is set without MASTER_ADDR and MASTER_PORT; start it with torchrun")
    return Launch(rank, size, local, here, "a launcher", address, port)


def _srun() -> Launch | None:
    """The place that srun's variables tell; None outside of a step of several tasks.

    A batch script outside of srun is one process, whatever its job asks for.

    Raises:
        LaunchError: They contradict each other.
    """
    task, tasks = _number("SLURM_PROCID"), _number("SLURM_STEP_NUM_TASKS") or _number("SLURM_NTASKS") or 1
    if task is None or tasks == 1 or not (task or "SLURM_STEP_ID" in os.environ):
        return None
    local, machine = _number("SLURM_LOCALID"), _number("SLURM_NODEID") or 0
    if task >= tasks or local is None:
        raise LaunchError(f"SLURM_PROCID={task} of {tasks} tasks and SLURM_LOCALID={local} do not fit each other")
    each = _tasks_of_machines(tasks)
    if len(set(each)) > 1:
        raise LaunchError(f"srun started {each} tasks on its machines; take as many on each (--ntasks-per-node)")
    if local >= each[0] or machine >= len(each):
        raise LaunchError(
            f"SLURM_LOCALID={local} of {each[0]} tasks on a machine and SLURM_NODEID={machine} do not fit"
        )
    names = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_JOB_NODELIST", "")
    address = os.environ.get("MASTER_ADDR") or ("127.0.0.1" if len(each) == 1 else _first_machine(names))
    # of two steps of a job that share a machine each has its own
    own = 100 * (_number("SLURM_JOB_ID") or 0) + (_number("SLURM_STEP_ID") or 0)
    port = _number("MASTER_PORT") or 20_000 + own % 12_000
    return Launch(task, tasks, local, each[0], "srun", address, port)


def _tasks_of_machines(tasks: int) -> list[int]:
    """Tasks of each machine of a step: "2(x3),1" stands for 2, 2, 2 and 1."""
    text = os.environ.get("SLURM_STEP_TASKS_PER_NODE") or os.environ.get("SLURM_TASKS_PER_NODE") or str(tasks)
    each: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d{1,6})(?:\(x(\d{1,6})\))?", part)
        if found is None:
            raise LaunchError(f"SLURM_STEP_TASKS_PER_NODE={text} is no list of tasks such as 4(x2)")
        each += [int(found[1])] * int(found[2] or 1)
    if sum(each) != tasks:
        raise LaunchError(f"srun started {tasks} tasks, and SLURM_STEP_TASKS_PER_NODE={text} are {sum(each)}")
    return each


def _first_machine(names: str) -> str:
    """The first of a list of machines such as "gpu[03-05,9],login"."""
    found = re.match(r"([^\[,]+)(?:\[([^\],-]+))?", names)
    if found is None:
        raise LaunchError("srun does not say on which machines it runs; set MASTER_ADDR to the first of them")
    return found[1] + (found[2] or "")


def _number(name: str) -> int | None:
    """An environment variable as a number, None where it is not set.

    Raises:
        LaunchError: It is no number.
    """
    value = os.environ.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) < 16):
        raise LaunchError(f"{name}={value} is not a number; unset it, and {_ADVICE}")
    return int(value)
