"""Everything of a run that a checkpoint keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from ..core.errors import StkdError
from ..core.fabric import Fabric
from .meter import Meter
from .random_stream import random_state, restore_random_state

__all__ = ["State"]

_FORMAT = 2

_NAMED = {"classes": "list of class names", "class_weights": "file of class weights"}


@dataclass
class State:
    """What changes while a run trains.

    Attributes:
        fabric: For the scaler of 16-bit precision.
        student: The module itself, without Fabric's wrappers.
        extras: The method's own modules, if any.
        optimizer, scheduler: Over student and extras.
        ema: The averaged student, if asked for.
        meter: Sums of the epoch.
        identity: Digests of class names, data and teacher; a checkpoint of others is refused.
        epochs, steps: Of the run, and in an epoch: what the schedule was made for.
        epoch, step: The next step to make.
        seconds: Spent training, over all sessions of the run.
        images: That were shown in the epochs done.
        rows: Metrics, one row for each epoch done.
        best: The epoch that was best on validation.
        changes: Where the run was lengthened or its images changed.
    """

    fabric: Fabric
    student: nn.Module
    extras: nn.Module | None
    optimizer: Optimizer
    scheduler: LRScheduler
    ema: AveragedModel | None
    meter: Meter
    identity: dict[str, str]
    epochs: int
    steps: int
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    images: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)

    _PLAIN: ClassVar = ("epoch", "step", "seconds", "images", "rows", "best", "changes")

    def _parts(self) -> dict[str, Any]:
        """Everything that has a state_dict of its own."""
        parts = {
            "student": self.student,
            "extras": self.extras,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "precision": self.fabric.strategy.precision,
            "ema": self.ema,
            "meter": self.meter,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def state_dict(self) -> dict[str, Any]:
        """Plain containers and tensors, the state of torch's random numbers (dropout) among them."""
        return {
            **{name: part.state_dict() for name, part in self._parts().items()},
            **{name: getattr(self, name) for name in self._PLAIN},
            **random_state(),
            "epochs": self.epochs,
            "steps": self.steps,
            "format": _FORMAT,
            "identity": self.identity,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint; `training.resume` says from which."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        for name in self._PLAIN:
            setattr(self, name, state[name])
        restore_random_state(state)

    def check(self, state: dict[str, Any], *, data_may_differ: bool = False) -> None:
        """See that a checkpoint is of the same data and teacher.

        Raises:
            StkdError: It is not, or it was written by a later version.
        """
        version = state.get("format", 1)
        if version > _FORMAT:
            raise StkdError("the checkpoint was written by a later version of stkd; update stkd to go on")
        for what, digest in self.identity.items():
            if what == "teacher" and digest and version == 1:
                continue  # it was a digest of the weights alone
            if what == "data" and data_may_differ:
                continue
            if state["identity"].get(what, digest) != digest:
                accept = "give --data-changed accept to go on with it as it is now, " if what == "data" else ""
                raise StkdError(
                    f"the {_NAMED.get(what, what)} changed since this run was started; "
                    f"bring it back, {accept}or give another --out"
                )

    def finite(self) -> bool:
        """Whether all weights are; a last step can spoil them after a loss that was still finite."""
        return all(bool(torch.isfinite(tensor).all()) for tensor in self.student.state_dict().values())
