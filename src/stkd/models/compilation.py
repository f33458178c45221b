"""Compiling that falls back to the model as it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["Execution", "compiled"]

Execution = Literal["eager", "compiled"]
"""How torch runs a model."""

_log = logging.getLogger(__name__)


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
