"""Where runs are made: in this process, or in several processes at the same time."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from types import FrameType
from typing import Protocol

from ...core.config import DistillConfig, TrainConfig
from ...core.errors import Busy, Interrupted, StkdError
from ...training.choice import SharedChoice

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

    def start(self, config: Config, engines: SharedChoice | None = None) -> None:
        """Begin a run; only while fewer than `size` are under way.

        Args:
            config: Its options.
            engines: What runs teacher and student in all runs of which it is one.
        """

    def wait(self, seconds: float) -> Iterable[Outcome]:
        """Runs that have ended, after so many seconds at most."""

    def stop(self) -> None:
        """Ask the runs under way to write a checkpoint, and wait until they have ended."""

    def close(self) -> None:
        """Free everything at once."""


def attempt(config: Config, engines: SharedChoice | None = None) -> Failure | None:
    """Make a run.

    Args:
        config: Its options.
        engines: What runs teacher and student in all runs of which it is one.

    Returns:
        Why it was not made, or None.

    Raises:
        Interrupted: A signal asked to stop.
    """
    from ...api import run_distill, run_train

    try:
        if isinstance(config, DistillConfig):
            run_distill(config, progress=False, shared=engines)
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
        self._next: list[tuple[Config, SharedChoice | None]] = []

    def start(self, config: Config, engines: SharedChoice | None = None) -> None:
        self._next.append((config, engines))

    def wait(self, seconds: float) -> Iterable[Outcome]:
        config, engines = self._next.pop()
        return [(config, attempt(config, engines))]

    def stop(self) -> None:
        """The run itself heard the signal."""

    def close(self) -> None:
        """Nothing is held."""


class Processes:
    """Processes that share the threads and the CUDA devices of this machine.

    Each is a pool of one, which imports torch once and makes one run after the other; one that dies fails its run
    alone, and is replaced.

    Args:
        size: Number of processes.
        devices: CUDA devices as CUDA_VISIBLE_DEVICES names them, dealt out in turn; empty leaves all visible to all.
    """

    def __init__(self, size: int, devices: list[str]) -> None:
        self.size = size
        self._devices = devices
        self._idle = list(range(size))
        self._pools: dict[int, tuple[ProcessPoolExecutor, Future[int]]] = {}
        self._busy: dict[Future[Failure | None], tuple[int, Config]] = {}

    def start(self, config: Config, engines: SharedChoice | None = None) -> None:
        place = self._idle.pop(0)
        try:
            run = self._pool(place).submit(_make, config, engines)
        except BrokenProcessPool:  # it died after its last run
            self._drop(place)
            run = self._pool(place).submit(_make, config, engines)
        self._busy[run] = (place, config)

    def wait(self, seconds: float) -> Iterable[Outcome]:
        ended, _ = wait(self._busy, seconds, FIRST_COMPLETED)
        return [self._outcome(run) for run in ended]

    def stop(self) -> None:
        self._signal(signal.SIGTERM)
        wait(self._busy)

    def close(self) -> None:
        self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        for place in list(self._pools):
            self._drop(place)

    def _pool(self, place: int) -> ProcessPoolExecutor:
        if place not in self._pools:
            device = self._devices[place % len(self._devices)] if self._devices else None
            pool = ProcessPoolExecutor(1, get_context("spawn"), _begin, (self.size, device))
            self._pools[place] = pool, pool.submit(os.getpid)
        return self._pools[place][0]

    def _drop(self, place: int) -> None:
        self._pools.pop(place)[0].shutdown(cancel_futures=True)

    def _outcome(self, run: Future[Failure | None]) -> Outcome:
        place, config = self._busy.pop(run)
        self._idle.append(place)
        try:
            return config, run.result()
        except BrokenProcessPool:
            self._drop(place)
            return config, Failure("its process died without a word; is the memory full?")

    def _signal(self, number: int) -> None:
        """Send a signal to each process that makes a run."""
        for run, (place, _) in self._busy.items():
            if not run.done():
                with suppress(BrokenProcessPool, ProcessLookupError):
                    os.kill(self._pools[place][1].result(), number)


class _Worker:
    """State of a worker process: whether it makes a run, and whether it was asked to stop."""

    def __init__(self) -> None:
        self.busy = self.stopped = False
        self.idle = threading.Event()
        self.idle.set()

    def stop(self, signum: int, frame: FrameType | None) -> None:
        """Handler of SIGTERM outside the training loop, which has its own and writes a checkpoint."""
        self.stopped = True
        if self.busy:
            raise KeyboardInterrupt

    def end_with_parent(self) -> None:
        """A comparison that is killed takes its runs with it; each still writes a checkpoint."""
        parent = parent_process()
        assert parent is not None
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        self.idle.wait()
        os._exit(1)

    def make(self, config: Config, engines: SharedChoice | None) -> Failure | None:
        self.idle.clear()
        try:
            self.busy = True
            return Failure("stopped") if self.stopped else attempt(config, engines)
        except (Interrupted, KeyboardInterrupt):
            return Failure("stopped")
        finally:
            try:
                self.busy = False  # from here on a signal raises nothing; one that came just before is still raised
            finally:
                self.idle.set()


_worker = _Worker()


def _begin(processes: int, device: str | None) -> None:
    """The first thing that a worker process does."""
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # Ctrl-C is for the process that the user sees, which passes it on once
    signal.signal(signal.SIGTERM, _worker.stop)
    threading.Thread(target=_worker.end_with_parent, daemon=True).start()
    warnings.simplefilter("ignore")
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    import torch

    torch.set_num_threads(max(1, torch.get_num_threads() // processes))


def _make(config: Config, engines: SharedChoice | None) -> Failure | None:
    """Make a run in a worker process."""
    return _worker.make(config, engines)
