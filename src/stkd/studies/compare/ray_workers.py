"""Runs on a Ray cluster: one remote task each."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterable

from ...core.errors import Interrupted, StkdError
from ...training.choice import SharedChoice
from .workers import Config, Failure, Outcome, attempt

try:
    import ray
except ModuleNotFoundError:
    raise StkdError("--backend ray needs the package ray: pip install 'stkd[ray]'") from None

__all__ = ["RayWorkers"]

_PATIENCE = 60.0  # seconds for runs to write their checkpoints


class RayWorkers:
    """The cluster that RAY_ADDRESS names, else one on this machine; every machine of it must see the run directories.

    Args:
        size: Runs at the same time; None: one for each GPU of the cluster, or else for each CPU.

    Raises:
        StkdError: The cluster cannot be reached.
    """

    def __init__(self, size: int | None) -> None:
        before = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(
                # without an address Ray waits for a cluster that was once started here, though it may be gone
                address=os.environ.get("RAY_ADDRESS") or "local",
                ignore_reinit_error=True,
                log_to_driver=False,
                include_dashboard=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, RuntimeError) as error:
            raise StkdError(f"cannot reach the Ray cluster: {' '.join(str(error).split())}") from None
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray puts its own there, which would end the process at once
        resources: dict[str, float] = ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        self.size = size or gpus or cpus
        threads = max(1, cpus // self.size)
        share = min(1.0, gpus / self.size)
        self._attempt = ray.remote(num_cpus=threads, num_gpus=share, max_retries=0)(_attempt)
        self._threads = threads
        self._under_way: dict[ray.ObjectRef[Failure | None], Config] = {}

    def start(self, config: Config, engines: SharedChoice | None = None) -> None:
        self._under_way[self._attempt.remote(config, self._threads, engines)] = config

    def wait(self, seconds: float) -> Iterable[Outcome]:
        done, _ = ray.wait(list(self._under_way), timeout=seconds)
        return [(self._under_way.pop(reference), _outcome(reference)) for reference in done]

    def stop(self) -> None:
        for reference in self._under_way:
            ray.cancel(reference, force=False)  # reaches the run as Ctrl-C
        ray.wait(list(self._under_way), num_returns=len(self._under_way), timeout=_PATIENCE)

    def close(self) -> None:
        ray.shutdown()


def _attempt(config: Config, threads: int, engines: SharedChoice | None) -> Failure | None:
    import torch

    torch.set_num_threads(threads)
    try:
        return attempt(config, engines)
    except Interrupted as stop:
        return Failure(str(stop))


def _outcome(reference: ray.ObjectRef[Failure | None]) -> Failure | None:
    try:
        failure: Failure | None = ray.get(reference)
    except ray.exceptions.RayError as error:
        failure = Failure(f"{type(error).__name__}: {str(error).splitlines()[0]}")
    return failure
