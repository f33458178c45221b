"""The processes of a run after they have met: what they gather, what they agree on, and who may write first."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from .errors import StkdError
from .processes import Launch, launch_of

__all__ = ["World", "meet"]

_PATIENCE = timedelta(minutes=5)
"""For the others to come: machines import torch at different speeds."""


_WORK = timedelta(days=2)
"""What one process may do alone, such as evaluating, while the others wait; `core.watch` sees when it is gone."""

T = TypeVar("T")


class World:
    """The processes of a run; alone it costs nothing.

    Args:
        launch: The place of this process.
        store: What all can read and write; None for one process.

    Attributes:
        launch: The place of this process.
        store: See above.
    """

    def __init__(self, launch: Launch, store: Store | None = None) -> None:
        self.launch, self.store = launch, store
        self._control: Any = None if store is None else dist.new_group(backend="gloo", timeout=_WORK)
        self._asked: tuple[Any, Tensor] | None = None

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""
        return self.launch.rank

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.launch.size

    def agree(self, *numbers: int) -> Sequence[int]:
        """The largest of each of some numbers among all processes, as they gave them one call before.

        All have to call it equally often. It waits for those who are a call behind, and for nobody else.
        """
        if self.size == 1:
            return numbers
        given = torch.tensor(numbers, dtype=torch.int64)
        before, self._asked = self._asked, (dist.all_reduce(given, dist.ReduceOp.MAX, self._control, True), given)
        if before is None:
            return [0] * len(numbers)
        before[0].wait()
        largest: list[int] = before[1].tolist()
        return largest

    def settle(self) -> None:
        """Wait until nothing that was asked by `agree` is under way."""
        if self._asked is not None:
            self._asked[0].wait()
            self._asked = None

    def all_equal(self, *numbers: int) -> bool:
        """Whether all processes have the same numbers."""
        if self.size == 1:
            return True
        both = torch.tensor([*numbers, *(-number for number in numbers)], dtype=torch.int64)
        dist.all_reduce(both, dist.ReduceOp.MAX, self._control)
        return bool((both[: len(numbers)] == -both[len(numbers) :]).all())

    def of_first(self, value: T) -> T:
        """What the first process has."""
        if self.size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, 0, self._control)
        return held[0]

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """The first process does what is inside, then the others do: they find what it wrote."""
        if self.size > 1 and self.rank > 0:
            self._wait()
        yield
        if self.size > 1 and self.rank == 0:
            self._wait()

    def _wait(self) -> None:
        dist.barrier(self._control)

    def gathered(self, own: Tensor, rows: int) -> Tensor:
        """All rows of a batch of which each process has every `size`-th one, from its rank on.

        Args:
            own: (r, ...), this process's rows.
            rows: Of all.

        Returns:
            (rows, ...). The gradient of own rows is `size` times as large as that of the others would have it, so
            that the mean of the gradients of all processes is the gradient of the whole.
        """
        if len(own) == rows:
            return own  # the only process, or something that all have
        whole: Tensor = _Gathered.apply(own, rows, self.rank, self.size)
        return whole

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Put the mean over all processes in the place of each tensor."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(flat)
        means = torch.split(flat.div_(self.size), [tensor.numel() for tensor in tensors])
        for tensor, mean in zip(tensors, means, strict=True):
            tensor.copy_(mean.view_as(tensor))


class _Gathered(torch.autograd.Function):
    """See `World.gathered`."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, rows: int, rank: int, size: int) -> Tensor:
        ctx.rank, ctx.size = rank, size
        each = -(-rows // size)
        padded = own.contiguous()
        if len(own) < each:
            padded = torch.cat([padded, padded.new_zeros(each - len(own), *own.shape[1:])])
        parts = [torch.empty_like(padded) for _ in range(size)]
        dist.all_gather(parts, padded)
        return torch.stack(parts, 1).flatten(0, 1)[:rows]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return gradient[ctx.rank :: ctx.size] * ctx.size, None, None, None


_world: World | None = None


def meet(devices: int | None) -> World:
    """Meet the other processes of the run, which are started where no launcher did that; once in a process.

    Args:
        devices: Devices that were asked for, one process each; None takes what a launcher started.

    Raises:
        LaunchError: A launcher's variables contradict each other, or what was asked for.
        StkdError: The others do not come.
    """
    global _world
    launch = launch_of(devices)
    if launch.size == 1 and (devices or 1) == 1:
        return World(launch)
    if _world is None:
        _world = _started(devices or 1) if launch.size == 1 else _joined(launch)
        atexit.register(_leave)
    return _world


def _joined(launch: Launch) -> World:
    """The world of processes that something else started."""
    # torchrun's agent keeps a store at this place
    hosts = launch.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        store = TCPStore(launch.address, launch.port, launch.size, hosts, timeout=_PATIENCE, wait_for_workers=False)
    except (RuntimeError, ValueError, OSError) as error:
        raise StkdError(
            f"cannot meet the other processes at {launch.address}:{launch.port}: {(str(error).splitlines() or [''])[0]}"
        ) from None
    return _met(launch, store)


def _started(devices: int) -> World:
    """The world of this process, the first, and the others, which run the same command and are started here."""
    store = TCPStore("127.0.0.1", 0, devices, True, timeout=_PATIENCE, wait_for_workers=False)
    launch = Launch(0, devices, 0, devices, "stkd", "127.0.0.1", store.port)
    _set_environment(launch)
    met = threading.Event()
    for rank in range(1, devices):
        own = {**os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank)}
        _others.append(subprocess.Popen(_this_command(), env=own))
    threading.Thread(target=_watch_start, args=(met,), daemon=True).start()
    world = _met(launch, store)
    met.set()
    return world


_others: list[subprocess.Popen[bytes]] = []


def _this_command() -> list[str]:
    import __main__

    spec = getattr(__main__, "__spec__", None)
    if spec is None:
        return [sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]]
    name = spec.name.removesuffix(".__main__")
    return [sys.executable, "-m", name, *sys.argv[1:]]


def _watch_start(met: threading.Event) -> None:
    """End this process where another one ends before all have met."""
    while not met.wait(0.5):
        for rank, process in enumerate(_others, 1):
            if (code := process.poll()) is not None:
                print(f"stkd: error: rank {rank} ended with code {code} before all had met", file=sys.stderr)
                sys.stderr.flush()
                for other in _others:
                    other.kill()
                os._exit(2)


def _met(launch: Launch, store: Store) -> World:
    _set_environment(launch)
    # where torchrun starts processes again, its store remembers those before
    store = PrefixStore(f"stkd{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
    here = [f"here/{rank}" for rank in range(launch.size)]
    try:
        store.set(here[launch.rank], "")
        store.wait(here, _PATIENCE)
    except RuntimeError:
        missing = [str(rank) for rank, name in enumerate(here) if not _has(store, name)]
        raise StkdError(
            f"rank {', '.join(missing)} of {launch.size} did not come within {_PATIENCE.seconds // 60} minutes; see "
            "what that process says, and whether its machine reaches "
            f"{launch.address}:{launch.port}"
        ) from None
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=launch.rank, world_size=launch.size)
    return World(launch, store)


def _has(store: Store, name: str) -> bool:
    with suppress(RuntimeError):
        return bool(store.check([name]))
    return False


def _set_environment(launch: Launch) -> None:
    """Say the place of this process in torchrun's names, whoever started it: Fabric reads them."""
    names: dict[str, object] = {
        "RANK": launch.rank,
        "LOCAL_RANK": launch.local_rank,
        "WORLD_SIZE": launch.size,
        "LOCAL_WORLD_SIZE": launch.local_size,
        "GROUP_RANK": launch.rank // launch.local_size,
        "MASTER_ADDR": launch.address,
        "MASTER_PORT": launch.port,
    }
    os.environ.update({name: str(value) for name, value in names.items()})


def _leave() -> None:
    """Before this process ends: leave the others in order, and wait for those that it started."""
    if dist.is_initialized():
        with suppress(Exception):
            dist.destroy_process_group()
    for process in _others:
        with suppress(subprocess.TimeoutExpired):
            process.wait(_END)
        process.kill()


_END = 20.0
"""Seconds in which a process that was started here ends by itself."""
