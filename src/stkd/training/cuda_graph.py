"""The device's part of a training step, recorded as one CUDA graph and replayed: the host only starts it.

Not measured yet: no GPU was at hand. What can be seen without one is tested: that a step only reads and changes
tensors in place, and that steps from fixed memory give the same weights.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from ..core.errors import StkdError
from ..data.loader import Batch
from ..mixing import Parts
from ..teachers.cached import CachedTeacher
from .step import Step

__all__ = ["CapturedStep", "CudaGraph", "Recorder", "check_capture"]

_log = logging.getLogger(__name__)

_FIRST, _EACH = 3, 1
"""Steps that run as they are: at the start of a session, while libraries choose and allocate, and of every epoch."""


def check_capture(step: Step) -> None:
    """See that a run's steps can be recorded.

    The scaler of 16-bit floats asks the device whether it overflowed; several processes wait for each other; a teacher
    that looks its answers up on the host has nothing to record.

    Raises:
        StkdError: They cannot; says why.
    """
    fabric, student = step.state.fabric, step.student
    if fabric.device.type != "cuda":
        raise StkdError(f"--cuda-graph needs a CUDA device, and this run is on {fabric.device.type}; leave it out")
    if fabric.world_size > 1 or student.config.precision == "16" or isinstance(student.teacher, CachedTeacher):
        raise StkdError("--cuda-graph takes one device, a precision of 32 or bf16 and a live teacher; leave it out")


class Recorder(Protocol):
    """Records work on the device."""

    def warm_up(self, work: Callable[[], None]) -> None:
        """Do work now, as it will be recorded."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """What does that work again, each time it is called. The work itself is not done."""


class CudaGraph:
    """Records CUDA graphs, one after the other in the same memory."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, work: Callable[[], None]) -> None:
        # not on the default stream, which autograd would remember and a recording may not touch
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            work()
        torch.cuda.current_stream().wait_stream(self._stream)

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            work()
        return graph.replay


class CapturedStep:
    """Makes steps as `Step` does, most of them by replaying a recording.

    A recording holds what an epoch's losses depend on besides tensors, so there is a new one in every epoch. The
    learning rate is a tensor in it, filled before each step. Where recording fails, steps go on as they are.

    Args:
        step: The step of one student.
        recorder: Records work on its device.
    """

    def __init__(self, step: Step, recorder: Recorder) -> None:
        self.step, self._recorder = step, recorder
        self._wait = _FIRST
        self._epoch = -1
        self._batch: Batch | None = None
        self._replay: Callable[[], None] | None = None
        self._failed = False
        device = step.state.fabric.device
        self._lr = [torch.zeros((), device=device) for _ in self._groups()]

    def __call__(self, batch: Batch) -> None:
        """Make the step."""
        if batch.epoch != self._epoch:
            self._epoch, self._replay, self._wait = batch.epoch, None, max(self._wait, _EACH)
        if self._wait > 0 or self._failed:
            self._wait -= 1
            self._recorder.warm_up(lambda: self._change(batch))
        else:
            self._fill(batch)
            if self._replay is None:
                self._replay = self._recorded()
            self._replay()
        self.step.count(len(batch.images))

    def _change(self, batch: Batch) -> None:
        self.step.change(batch, self.step.teach(batch))

    def _fill(self, batch: Batch) -> None:
        """Put batch and learning rates where the recording finds them."""
        if self._batch is None:
            self._batch = _copy_of(batch)
        self._batch = dataclasses.replace(self._batch, epoch=batch.epoch, step=batch.step)
        for own, new in zip(_tensors(self._batch), _tensors(batch), strict=True):
            own.copy_(new, non_blocking=True)
        for own, group in zip(self._lr, self._groups(), strict=True):
            own.fill_(group["lr"])

    def _groups(self) -> list[dict[str, Any]]:
        return self.step.state.optimizer.param_groups  # a checkpoint puts others there

    def _recorded(self) -> Callable[[], None]:
        batch, groups = self._batch, self._groups()
        rates = [group["lr"] for group in groups]
        assert batch is not None
        try:
            for group, tensor in zip(groups, self._lr, strict=True):
                group["lr"] = tensor
            return self._recorder.record(lambda: self._change(batch))
        except Exception as error:  # whatever a method does that a graph cannot hold
            self._failed = True
            self.step.optimizer.zero_grad()
            reason = (str(error).splitlines() or [""])[0][:120]
            _log.warning("this step cannot be recorded as a CUDA graph, so it runs as it is (%s)", reason)
            return lambda: self._change(batch)
        finally:
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate


def _tensors(batch: Batch) -> list[Tensor]:
    parts = batch.parts
    boxes = [] if parts.boxes is None else [parts.boxes]
    return [batch.images, batch.targets, batch.labels, batch.index, parts.index, parts.lam, *boxes]


def _copy_of(batch: Batch) -> Batch:
    """The same batch in memory of its own."""
    images, targets, labels, index, of, lam, *boxes = (tensor.clone() for tensor in _tensors(batch))
    parts = Parts(of, lam, boxes[0] if boxes else None)
    return dataclasses.replace(batch, images=images, targets=targets, labels=labels, index=index, parts=parts)
