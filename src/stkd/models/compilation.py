"""Whether torch.compile pays for a run, and compiling that falls back to the model as it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["Execution", "compiled", "compiling_pays"]

Execution = Literal["eager", "compiled"]
"""How torch runs a model."""

_PAYS_FROM = {"cpu": 7e13, "cuda": 2.5e15}
"""Multiply-accumulates of a run from which compiling saves more time than it takes, by device.

CPU: results/compiling.json at revision 1dc5181, resnet56 -> resnet20 in float32; in bf16 steps took as long compiled
(0.97 times the speed). CUDA: an estimate, not measured.
"""

_log = logging.getLogger(__name__)


def compiling_pays(device: torch.device, precision: str, work: float) -> bool:
    """Whether compiling wins back the time that it takes.

    Args:
        device: Where the models run.
        precision: Fabric's name of their arithmetic, such as "32-true" or "bf16-mixed".
        work: Multiply-accumulates of the whole run.
    """
    if device.type == "cpu" and precision.startswith("bf16"):
        return False
    return work >= _PAYS_FROM.get(device.type, float("inf"))


def compiled(
    module: nn.Module, sample: Tensor, answer: Callable[[nn.Module, Tensor], Tensor]
) -> tuple[nn.Module, Execution]:
    """The module compiled for batches like `sample`, or itself, with a warning in the log, where that fails.

    It shares parameters and buffers with the module. Neither weights, statistics, gradients nor random numbers are
    changed.

    Args:
        module: The module, in the mode in which it will run, without hooks.
        sample: Images (R, C, H, W) of the shape of every batch.
        answer: Runs a module on images as the training step does; the backward pass follows if there is one.

    Returns:
        The module, and how it is run.
    """
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        fast: nn.Module = torch.compile(module, dynamic=False)  # type: ignore[assignment]
        with torch.random.fork_rng(devices=[sample.device] if sample.is_cuda else []):
            logits = answer(fast, sample)
            if logits.requires_grad:
                logits.float().sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever the compiler or a missing C++ compiler raises
        cause = getattr(error, "inner_exception", error)  # what a backend raised
        reason = (str(cause).splitlines() or [""])[0][:120]
        _log.warning("compiling failed, so this run goes uncompiled (%s: %s)", type(cause).__name__, reason)
        return module, "eager"
    finally:
        for name, buffer in module.named_buffers():
            buffer.copy_(before[name])
        module.zero_grad()
    return fast, "compiled"
