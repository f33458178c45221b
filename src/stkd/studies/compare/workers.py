"""Where runs are made: in this process, or in several long-lived ones beside each other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Protocol

from ...core.config import DistillConfig, TrainConfig
from ...core.errors import Busy, Interrupted, StkdError

__all__ = ["Failure", "Here", "Outcome", "Processes", "Workers", "attempt"]

Config = TrainConfig | DistillConfig


@dataclass(frozen=True)
class Failure:
    """Why a run was not made.

    Attributes:
        why: In one line.
        held: Whether another process is making it.
    """

    why: str
    held: bool = False


Outcome = tuple[Config, Failure | None]
"""A run that has ended, and why it was not made, None if it was."""


class Workers(Protocol):
    """Takes runs and gives back outcomes.

    Attributes:
        size: Runs that can be made at the same time.
    """

    size: int

    def start(self, config: Config) -> None:
        """Begin a run; only while fewer than `size` are under way."""

    def wait(self, seconds: float) -> Iterable[Outcome]:
        """Runs that have ended, after so many seconds at most."""

    def stop(self) -> None:
        """Ask the runs under way to write a checkpoint, and wait until they have ended."""

    def close(self) -> None:
        """Free everything at once."""


def attempt(config: Config) -> Failure | None:
    """Make a run.

    Returns:
        Why it was not made, or None.

    Raises:
        Interrupted: A signal asked to stop.
    """
    from ...api import run_distill, run_train

    try:
        if isinstance(config, DistillConfig):
            run_distill(config, progress=False)
        else:
            run_train(config, progress=False)
    except Interrupted:
        raise
    except StkdError as error:
        return Failure(str(error), held=isinstance(error, Busy))
    except Exception as error:  # whatever a model, a plug-in or a library does, the other runs go on
        return Failure(f"{type(error).__name__}: {' '.join(str(error).split())}")
    return None


class Here:
    """This process, one run after the other."""

    size = 1

    def __init__(self) -> None:
        self._next: list[Config] = []

    def start(self, config: Config) -> None:
        self._next.append(config)

    def wait(self, seconds: float) -> Iterable[Outcome]:
        config = self._next.pop()
        return [(config, attempt(config))]

    def stop(self) -> None:
        """The run itself heard the signal."""

    def close(self) -> None:
        """Nothing is held."""


class Processes:
    """Several processes that share the threads and the CUDA devices of this machine.

    They import torch once and make one run after the other. One that dies takes its run with it and is replaced.

    Args:
        size: Number of processes.
        devices: CUDA devices as CUDA_VISIBLE_DEVICES names them, dealt out in turn; empty leaves all visible to all.
    """

    def __init__(self, size: int, devices: list[str]) -> None:
        self.size = size
        self._devices = devices
        self._context = multiprocessing.get_context("spawn")
        self._idle: list[int] = list(range(size))
        self._processes: dict[int, tuple[SpawnProcess, Connection]] = {}
        self._busy: dict[int, Config] = {}

    def start(self, config: Config) -> None:
        place = self._idle.pop(0)
        if place in self._processes and not self._processes[place][0].is_alive():
            self._bury(place)
        if place not in self._processes:
            self._processes[place] = self._spawn(place)
        self._busy[place] = config
        self._processes[place][1].send(config)

    def _spawn(self, place: int) -> tuple[SpawnProcess, Connection]:
        ours, theirs = self._context.Pipe()
        device = self._devices[place % len(self._devices)] if self._devices else None
        process = self._context.Process(target=_serve, args=(theirs, self.size, device), daemon=False)
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        return process, ours

    def wait(self, seconds: float) -> Iterable[Outcome]:
        pipes = {self._processes[place][1]: place for place in self._busy}
        ended: list[Outcome] = []
        for pipe in connection.wait(list(pipes), seconds):
            assert isinstance(pipe, Connection)
            place = pipes[pipe]
            try:
                failure: Failure | None = pipe.recv()
            except (EOFError, ConnectionError):
                failure = self._bury(place)
            self._idle.append(place)
            ended.append((self._busy.pop(place), failure))
        return ended

    def _bury(self, place: int) -> Failure:
        process, pipe = self._processes.pop(place)
        pipe.close()
        process.join()
        code = process.exitcode or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return Failure(f"its process {how}" + ("; is the memory full?" if code == -signal.SIGKILL else ""))

    def stop(self) -> None:
        for place in self._busy:
            process, pipe = self._processes[place]
            process.terminate()
            pipe.close()  # a signal that comes after a run's last step is not heard: then the process ends by this
        for place in self._busy:
            self._processes[place][0].join()

    def close(self) -> None:
        for place, (process, pipe) in self._processes.items():
            pipe.close()  # an idle process ends by this
            if place in self._busy:
                process.kill()
            process.join()


def _serve(pipe: Connection, processes: int, device: str | None) -> None:
    """What a worker process does: make runs until the pipe is closed."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C is for the process that the user sees, which passes it on once
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore")
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    try:
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
        while True:
            pipe.send(attempt(pipe.recv()))
    except (EOFError, BrokenPipeError, Interrupted, KeyboardInterrupt):
        return


def _end_with_parent() -> None:
    """A comparison that is killed takes its runs with it; each still writes a checkpoint."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
