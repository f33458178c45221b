"""Going on from a checkpoint, also where the run was lengthened or its images changed since."""

from __future__ import annotations

import logging
import warnings
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from ..core.config import DistillConfig, TrainConfig
from ..core.errors import StkdError
from ..data import DataSet
from ..methods import Method
from .optim import peak_lr
from .state import State

__all__ = ["resume"]

_log = logging.getLogger(__name__)


def resume(
    state: State, checkpoint: dict[str, Any], config: TrainConfig | DistillConfig, method: Method, data: DataSet
) -> dict[str, Any]:
    """Go on from a checkpoint.

    Where the run has more epochs than it was begun with, or other images that are accepted, the learning rate goes on
    as the schedule of now has it at this place, and weights, average and optimizer as they were.

    Args:
        state: Of the run as it is planned now, before its first step.
        checkpoint: What was kept.
        config: Options of the run.
        method: How it learns.
        data: Its images.

    Returns:
        What changed, for the record: "lengthened" and "data_changed"; empty where nothing did.

    Raises:
        StkdError: The checkpoint does not go with data, teacher or epochs.
    """
    accepted = config.data_changed == "accept"
    state.check(checkpoint, data_may_differ=accepted)
    epoch, planned = checkpoint["epoch"], checkpoint["epochs"]
    # checkpoints of earlier versions say neither; they are of the same images
    checkpoint = {"steps": state.steps, "changes": [], **checkpoint}
    checkpoint.setdefault("images", epoch * state.steps * min(config.batch_size, len(data.train)))
    changes: dict[str, Any] = {}
    if state.epochs != planned:
        _check_epochs(method, epoch, planned, state.epochs)
        changes["lengthened"] = {"from": planned, "to": state.epochs, "epoch": epoch}
    old, new = checkpoint["identity"]["data"], state.identity["data"]
    if old != new:
        _check_memory(method, checkpoint)
        changes["data_changed"] = {"from": old, "to": new, "epoch": epoch}
        # the order of an epoch is one of so many images, so that this one begins again; scores of other validation
        # images say nothing about the best epoch
        checkpoint |= {"step": 0, "best": None}
    if not changes:
        state.load_state_dict(checkpoint)
        return {}
    lr = _restate(state, checkpoint)
    if old != new:
        state.meter.reset()
    state.changes = [*state.changes, changes]
    _say(config, data, changes, lr)
    return changes


def _check_epochs(method: Method, epoch: int, planned: int, now: int) -> None:
    if now < planned:
        raise StkdError(
            f"this run was lengthened to {planned} epochs and cannot be shortened to {now}; give --epochs {planned} or "
            "more, or another --out"
        )
    if method.first_stage_epochs(planned) <= epoch < (first := method.first_stage_epochs(now)):
        raise StkdError(
            f"with {now} epochs the first stage of this method would last {first} epochs, and the run has left it "
            f"after {method.first_stage_epochs(planned)}; lengthen it by less, or give another --out"
        )


def _check_memory(method: Method, checkpoint: dict[str, Any]) -> None:
    if "classes" not in checkpoint["identity"]:
        raise StkdError(
            "the data changed, and a checkpoint of an earlier version does not say of which classes it was; bring the "
            "data back, or give another --out"
        )
    if method.remembers_images:
        raise StkdError(
            "the data changed, and this method keeps a memory of each training image; bring the data back, or give "
            "another --out"
        )


def _restate(state: State, checkpoint: dict[str, Any]) -> tuple[float, float]:
    """Load a checkpoint, with the learning rate that the schedule of now has at its place.

    Returns:
        The learning rate as it would have been, and as it is.
    """
    _advance(state.scheduler, checkpoint["epoch"] * state.steps + checkpoint["step"])
    rates = [{k: v for k, v in group.items() if k != "params"} for group in state.optimizer.param_groups]
    state.load_state_dict({**checkpoint, "scheduler": state.scheduler.state_dict()})
    before = peak_lr(state.optimizer)
    for group, own in zip(state.optimizer.param_groups, rates, strict=True):
        group.update(own)
    return before, peak_lr(state.optimizer)


def _advance(scheduler: LRScheduler, steps: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch misses the steps of the optimizer
        for _ in range(steps):
            scheduler.step()


def _say(config: TrainConfig | DistillConfig, data: DataSet, changes: dict[str, Any], lr: tuple[float, float]) -> None:
    rate = "" if lr[0] == lr[1] else f"; the learning rate jumps from {lr[0]:.3g} to {lr[1]:.3g}"
    if (longer := changes.get("lengthened")) is not None:
        why = f", as the schedule is now that of {longer['to']} epochs" if rate else ""
        _log.info(
            "%s goes on after epoch %d and has %d epochs instead of %d%s%s",
            *(config.out, longer["epoch"], longer["to"], longer["from"], rate, why),
        )
    if (images := changes.get("data_changed")) is not None:
        drawn = _splits_are_drawn(config, data)
        _log.warning(
            "the images of %s are others than before (%.8s, now %.8s): from epoch %d on it is not bit for bit the run "
            "that was begun%s%s",
            *(config.out, images["from"], images["to"], images["epoch"] + 1),
            *("" if longer else rate, "; images that it has learnt from may be in its test split now" if drawn else ""),
        )


def _splits_are_drawn(config: TrainConfig | DistillConfig, data: DataSet) -> bool:
    """Whether other images may make other splits of those that were there before."""
    own = set() if data.listing is None else {"val", "test"} & set(data.listing.folders)
    return config.val_fraction > 0 or not own
