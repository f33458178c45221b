"""Optimiser and learning-rate schedule of a run; torch's own, one step of the schedule per step of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
)

from .. import models
from ..core.config import RunConfig
from ..core.errors import StkdError

__all__ = ["make_optimizer", "make_schedule", "peak_lr", "usual_lr"]


def usual_lr(config: RunConfig, model: str) -> float:
    """Peak learning rate of a run that names none: SGD's is the model's own, in proportion to the batch."""
    return 1e-3 if config.optimizer == "adamw" else models.default_lr(model) * config.batch_size / 64


def make_optimizer(
    config: RunConfig, parameters: Sequence[nn.Parameter] | Sequence[dict[str, Any]], lr: float
) -> Optimizer:
    """SGD or AdamW.

    Args:
        config: The options of the run.
        parameters: What is trained, or groups of it, each with a learning rate and weight decay of its own.
        lr: Peak learning rate of what has none of its own.
    """
    given: list[Any] = list(parameters)
    every = [p for part in given for p in (part["params"] if isinstance(part, dict) else [part])]
    if config.optimizer == "adamw":
        cuda = _on_cuda(every)  # what a CUDA graph can hold: no number in it comes from the host
        return AdamW(given, lr=lr, weight_decay=config.weight_decay, fused=cuda or None, capturable=cuda)
    optimizer = SGD(
        given,
        lr=lr,
        momentum=config.momentum,
        nesterov=config.nesterov,
        weight_decay=config.weight_decay,
        fused=True,
    )
    if config.momentum:
        # torch's fused step cannot take parameters whose first gradient comes later than that of others
        for parameter in every:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def _on_cuda(parameters: Sequence[nn.Parameter]) -> bool:
    return all(parameter.is_cuda for parameter in parameters)


def peak_lr(optimizer: Optimizer) -> float:
    """The largest of the learning rates that its groups have now."""
    return max(float(group["lr"]) for group in optimizer.param_groups)


def make_schedule(config: RunConfig, optimizer: Optimizer, steps_per_epoch: int) -> LRScheduler:
    """The schedule, to be stepped after each optimiser step; every group falls alike from its own learning rate.

    Raises:
        StkdError: A milestone lies beyond the last epoch.
    """
    total = config.epochs * steps_per_epoch
    if config.schedule == "onecycle":
        # torch's own warm-up share is 30 %; a run that asks for warm-up epochs gets those
        share = config.warmup_epochs / config.epochs if config.warmup_epochs else 0.3
        peaks = [group["lr"] for group in optimizer.param_groups]
        return OneCycleLR(optimizer, max_lr=peaks, total_steps=total, pct_start=share, cycle_momentum=False)
    warmup = round(config.warmup_epochs * steps_per_epoch)
    main = _main_schedule(config, optimizer, total, warmup, steps_per_epoch)
    if not warmup:
        return main
    ramp = LinearLR(optimizer, start_factor=0.01, total_iters=warmup)
    return SequentialLR(optimizer, [ramp, main], milestones=[warmup])


def _main_schedule(
    config: RunConfig, optimizer: Optimizer, total: int, warmup: int, steps_per_epoch: int
) -> LRScheduler:
    if config.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=max(1, total - warmup))
    if config.schedule == "constant":
        return ConstantLR(optimizer, factor=1.0)
    epochs = [m * config.epochs if m < 1 else m for m in config.milestones]
    if any(e >= config.epochs for e in epochs):
        raise StkdError(
            f"milestones {list(config.milestones)} do not all lie before the last of {config.epochs} epochs; "
            "give shares of the run (0.625) or smaller epochs"
        )
    return MultiStepLR(optimizer, [round(e * steps_per_epoch) - warmup for e in epochs], gamma=config.gamma)
