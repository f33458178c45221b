"""What a model costs: parameters, multiply-accumulates, latency, and memory of a pass."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["costs", "device_of", "latencies", "latency", "macs", "parameters", "peak_memory"]

_WARM_UP = 3  # passes before timing
_LONGEST = 1.0  # seconds after which timing ends


def parameters(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(p.numel() for p in model.parameters())


def device_of(model: nn.Module) -> torch.device:
    """Where a model is; a CPU where it has neither parameters nor buffers."""
    tensors = (t for group in (model.parameters(), model.buffers()) for t in group)
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def macs(model: nn.Module, channels: int, size: int) -> int:
    """Multiply-accumulates of one image through convolutions and matrix products (half of torch's FLOP count).

    Args:
        model: In evaluation mode.
        channels, size: Of the image.
    """
    from torch.utils.flop_counter import FlopCounterMode  # loads triton

    device = device_of(model)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, channels, size, size, device=device))
    return int(counter.get_total_flops()) // 2


def _nothing() -> None:
    """A CPU is never ahead of its results."""


def latency(model: nn.Module, channels: int, size: int, batch_size: int, runs: int = 15) -> float:
    """Median milliseconds of a forward pass in float32, after warm-up, on the model's device; see `latencies`."""
    return median(latencies(model, channels, size, batch_size, runs))


@torch.no_grad()
def latencies(model: nn.Module, channels: int, size: int, batch_size: int, runs: int = 15) -> list[float]:
    """Milliseconds of forward passes in float32, after warm-up, on the model's device.

    Args:
        model: In evaluation mode.
        channels, size: Of the images.
        batch_size: Images in a pass.
        runs: Timed passes, fewer for a model that is slow: down to one, after one to warm up.
    """
    device = device_of(model)
    images = torch.zeros(batch_size, channels, size, size, device=device)
    sync: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else _nothing
    times: list[float] = []
    while len(times) < runs + _WARM_UP and (len(times) < 2 or sum(times) < _LONGEST):
        sync()
        began = time.perf_counter()
        model(images)
        sync()
        times.append(time.perf_counter() - began)
    return [1000 * seconds for seconds in times[min(_WARM_UP, len(times) - 1) :]]


class _MemoryCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch does not type it
    """Counts the bytes of all tensors that are alive at once; each storage counts once, until it is freed.

    torch has public counters for CUDA's allocator alone (`torch.cuda.max_memory_allocated`); its tracker for every
    device, torch.distributed._tools.mem_tracker, is private.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return out

    def add(self, tensor: Tensor) -> None:
        """Count the storage of a tensor."""
        storage = tensor.untyped_storage()
        mark, size = storage._cdata, storage.nbytes()
        if mark not in self.known:
            self.known.add(mark)
            self.now += size
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self._freed, mark, size)

    def _freed(self, mark: int, size: int) -> None:
        self.known.discard(mark)
        self.now -= size


@torch.no_grad()
def peak_memory(model: nn.Module, channels: int, size: int, batch_size: int) -> int:
    """Most bytes of tensors alive at once in a forward pass: weights, buffers, images and activations.

    It is the same on every machine: what a library takes beside it, for its kernels and its allocator, is not in it.

    Args:
        model: In evaluation mode.
        channels, size: Of the images.
        batch_size: Images in the pass.
    """
    device = device_of(model)
    images = torch.zeros(batch_size, channels, size, size, device=device)
    counter = _MemoryCounter()
    for tensor in (*model.parameters(), *model.buffers(), images):
        counter.add(tensor)
    with counter:
        model(images)
    return counter.most


def costs(model: nn.Module, channels: int, size: int) -> dict[str, float]:
    """All costs of a model.

    Args:
        model: In evaluation mode.
        channels, size: Of its images.

    Returns:
        params, macs (one image), latency_ms_1 and latency_ms_64 (median milliseconds of a pass in float32),
        throughput_1 and throughput_64 (images a second), peak_bytes_1 and peak_bytes_64 (see `peak_memory`); of a model
        that torch does not run, such as an ONNX file, the times alone.
    """
    seen = parameters(model) > 0
    values: dict[str, float] = {"params": parameters(model), "macs": macs(model, channels, size)} if seen else {}
    for batch_size, runs in ((1, 50), (64, 15)):
        values[f"latency_ms_{batch_size}"] = latency(model, channels, size, batch_size, runs)
        values[f"throughput_{batch_size}"] = 1000 * batch_size / values[f"latency_ms_{batch_size}"]
        if seen:
            values[f"peak_bytes_{batch_size}"] = peak_memory(model, channels, size, batch_size)
    return values
