"""The processes of one run: which of them this is, and whether a launcher started them as stkd can use them.

stkd starts the processes of `--devices N` itself. A launcher such as torchrun may start them instead, where it starts N
on one machine.
"""

from __future__ import annotations

import os

from .errors import LaunchError

__all__ = ["check_launch", "process_rank"]

_ADVICE = "start the command once, without a launcher; --devices N starts N processes"


def process_rank() -> int:
    """Number of this process within its run, from 0, as Fabric and torchrun tell it.

    A rank without a number of processes above it is no such number: the process is alone, and takes the part of the
    first.
    """
    try:
        size = _number("WORLD_SIZE") or 1
        rank = _number("RANK")
        if rank is None:
            rank = _number("LOCAL_RANK") or 0
    except LaunchError:
        return 0
    return rank if rank < size else 0


def check_launch(devices: int) -> None:
    """Refuse a launch whose processes would each train everything or wait for ever for one another.

    Args:
        devices: Devices of the run, one process each.

    Raises:
        LaunchError: The environment variables of torchrun or Slurm do not fit.
    """
    rank, local, size = _number("RANK"), _number("LOCAL_RANK"), _number("WORLD_SIZE")
    for name, value in (("RANK", rank), ("LOCAL_RANK", local)):
        if value is not None and size is None:
            raise LaunchError(f"{name} is set without WORLD_SIZE; unset it, and {_ADVICE}")
        if value is not None and size is not None and value >= size:
            raise LaunchError(f"{name}={value} is not below WORLD_SIZE={size}; {_ADVICE}")
    here = _number("LOCAL_WORLD_SIZE") or size
    launched = rank is not None or local is not None or (size or 1) > 1
    if launched and not size == here == devices:
        raise LaunchError(f"a launcher started {size} processes (WORLD_SIZE) for --devices {devices}; {_ADVICE}")
    if rank is not None and local is None and devices > 1:
        raise LaunchError(f"RANK is set without LOCAL_RANK; {_ADVICE}")
    _check_slurm()


def _check_slurm() -> None:
    """Refuse the tasks of `srun`; a batch script outside it is one process, whatever the job may ask for."""
    task, tasks = _number("SLURM_PROCID"), _number("SLURM_STEP_NUM_TASKS") or _number("SLURM_NTASKS") or 1
    if task is not None and tasks > 1 and (task > 0 or "SLURM_STEP_ID" in os.environ):
        raise LaunchError(f"srun started {tasks} tasks; {_ADVICE}, so take srun --ntasks=1")


def _number(name: str) -> int | None:
    """An environment variable as a number, None where it is not set.

    Raises:
        LaunchError: It is no number.
    """
    value = os.environ.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit()):
        raise LaunchError(f"{name}={value} is not a number; unset it, and {_ADVICE}")
    return int(value)
