"""What candidates cost on this machine, and which of them meet the limits."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import nn

from ... import models
from ...core.config import CheckConfig
from ...core.errors import StkdError
from ...core.fabric import make_fabric
from ...core.plugins import load_plugin
from ...data import DataSet
from ...data.selection import data_of
from ...evaluation import latencies, macs, parameters
from ...models.files import find_weights, read_info
from ...runs.environment import environment
from .candidates import Candidate, candidates_for
from .limits import Limits

__all__ = ["Costs", "Suggestion", "Timer", "suggest"]

_log = logging.getLogger(__name__)

Timer = Callable[[nn.Module, int, int], list[float]]
"""Milliseconds of passes of one image, from a model, channels and side in pixels."""

_PROPOSED = 3
_RUNS = 50  # timed passes
_WIDE = 0.25


@dataclass(frozen=True)
class Costs:
    """What a model costs.

    Attributes:
        model: Its name.
        accuracy: Published top-1 in per cent, see `Candidate`; None for a teacher.
        params: Number of parameters.
        file_bytes: Of its weights in float32.
        macs: Multiply-accumulates of one image.
        latency_ms: Median milliseconds of a pass of one image.
        latency_spread_ms: Quartiles of the same passes.
    """

    model: str
    accuracy: float | None
    params: int
    file_bytes: int
    macs: int
    latency_ms: float
    latency_spread_ms: tuple[float, float]


@dataclass(frozen=True)
class Suggestion:
    """Which students meet the limits.

    Attributes:
        data: Name of the data set.
        channels, size, classes: Of its images, and the number of classes.
        device, threads: Where and how it was timed.
        limits: That were asked for.
        benchmark: What the published accuracies are of.
        teacher: What the teacher costs at its own size; None where none was given.
        candidates: All that are smaller than the teacher, the most accurate first.
        proposed: Those of them that meet the limits, three at most.
        nearest: Where none does, the one that misses the limits by least.
        environment: Versions and hardware.
    """

    data: str
    channels: int
    size: int
    classes: int
    device: str
    threads: int
    limits: Limits
    benchmark: str
    teacher: Costs | None
    candidates: list[Costs]
    proposed: list[Costs]
    nearest: Costs | None
    environment: dict[str, Any]

    @property
    def disturbed(self) -> bool:
        """Whether something else took the machine: the middle half of the passes lies a quarter of the median apart."""
        spreads = [(high - low) / one.latency_ms for one in self.candidates for low, high in [one.latency_spread_ms]]
        known = [spread for spread in spreads if spread > 0]  # of a single pass there is none
        return bool(known) and median(known) > _WIDE

    def as_dict(self) -> dict[str, Any]:
        """The same as nested dictionaries, as `stkd suggest --json` prints it."""
        return {**dataclasses.asdict(self), "disturbed": self.disturbed}


def suggest(config: CheckConfig, limits: Limits, *, timer: Timer | None = None) -> Suggestion:
    """Measure candidate students with random weights, and propose the most accurate that meet the limits.

    Accuracies are published ones, of other images: an order and no prediction. Nothing is trained and nothing fetched.

    Args:
        config: Data, teacher and device.
        limits: What a student may cost.
        timer: Says how long passes take; None looks at a clock.

    Raises:
        StkdError: A name or a file is wrong, or every candidate is as large as the teacher.
    """
    if config.plugin is not None:
        load_plugin(config.plugin)
    data = data_of(config)
    device = make_fabric(config).device
    measure = timer or _time
    teacher = _teacher(config, data, device, measure)
    listed = candidates_for(data.size)
    _log.info("timing %d candidates on images of %d pixels", len(listed.models), data.size)
    costs = []
    for candidate in reversed(listed.models):
        module = _built(candidate, data)
        if module is None:
            continue
        if teacher is None or macs(module, data.channels, data.size) < teacher.macs:
            costs.append(_costs(module.to(device), candidate, data.channels, data.size, measure))
    if not costs:
        size = f"takes images of {data.size} pixels"
        why = size if teacher is None else f"is smaller than the teacher {teacher.model}"
        raise StkdError(f"no candidate {why}; choose a student by 'stkd list models'")
    fitting = [one for one in costs if limits.excess(vars(one)) <= 1]
    return Suggestion(
        data=data.name,
        channels=data.channels,
        size=data.size,
        classes=len(data.classes),
        device=str(device),
        threads=torch.get_num_threads(),
        limits=limits,
        benchmark=listed.benchmark,
        teacher=teacher,
        candidates=costs,
        proposed=fitting[:_PROPOSED],
        nearest=None if fitting else min(costs, key=lambda one: limits.excess(vars(one))),
        environment=environment(),
    )


def _time(model: nn.Module, channels: int, size: int) -> list[float]:
    return latencies(model, channels, size, batch_size=1, runs=_RUNS)


def _built(candidate: Candidate, data: DataSet) -> nn.Module | None:
    """A candidate with random weights; None where it does not take images of this size."""
    try:
        return models.create(
            candidate.model, num_classes=len(data.classes), in_channels=data.channels, image_size=data.size
        ).eval()
    except StkdError:
        return None


def _costs(module: nn.Module, model: Candidate, channels: int, size: int, measure: Timer) -> Costs:
    passes = measure(module, channels, size)
    low, high = np.quantile(passes, [0.25, 0.75])
    return Costs(
        model.model,
        model.accuracy,
        parameters(module),
        sum(tensor.nbytes for tensor in module.state_dict().values()),
        macs(module, channels, size),
        round(median(passes), 4),
        (round(float(low), 4), round(float(high), 4)),
    )


def _teacher(config: CheckConfig, data: DataSet, device: torch.device, measure: Timer) -> Costs | None:
    """What the teacher costs, whose weights do not matter for that.

    Raises:
        StkdError: It is not known which model it is, or it cannot be built.
    """
    name, weights = config.teacher, config.teacher_weights
    if name is None and weights is None:
        return None
    info = read_info(find_weights(weights)) if weights is not None else None
    if name is None and info is not None:
        module, channels, size, name = info.build(), info.channels, info.size, info.model
    else:
        if name is None and weights is not None and (weights / "config.json").is_file():
            name = f"hf/{weights}"
        if name is None:
            raise StkdError(f"{weights} does not say which model it holds; give --teacher NAME, or leave both out")
        channels, size = data.channels, config.teacher_size or data.size
        module = models.create(
            name,
            num_classes=len(data.classes),
            in_channels=channels,
            image_size=size,
            options=config.teacher_options,
        )
    return _costs(module.eval().to(device), Candidate(name, None), channels, size, measure)
