"""Whether compiling pays, and compiling that falls back to the model as it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

__all__ = ["Compile", "compiled", "what_pays"]

Compile = Literal["none", "teacher", "all"]

_PAYS = {"cpu": 7e13, "cuda": 2.5e15}
"""Multiply-accumulates of a run from which compiling saves more time than it takes, by kind of device.

CPU: 280,000 images for resnet56 -> resnet20; results/compiling.json has 270,000 in float32, and no gain in bf16. CUDA:
not measured, a guess.
"""


def what_pays(device: torch.device, work: float) -> Compile:
    """What to compile in a run of so much work.

    Args:
        device: Where it runs.
        work: Multiply-accumulates of the whole run.
    """
    return "all" if work >= _PAYS.get(device.type, float("inf")) else "none"


def compiled(module: nn.Module, sample: Tensor, answer: Callable[[nn.Module, Tensor], Tensor]) -> nn.Module:
    """The module compiled for batches like `sample`, or itself, with a note, where that fails.

    It shares parameters and buffers with the module, whose names in a state dict stay as they are. Taps must be set
    before. Neither weights, statistics, gradients nor random numbers are changed.

    Args:
        module: The module, in the mode in which it will run.
        sample: Images (R, C, H, W) of the shape of every batch.
        answer: Runs a module on images as the training step does; the backward pass follows if there is one.
    """
    import torch._dynamo  # seconds, which a run that compiles nothing need not spend

    fast: nn.Module = torch.compile(module, dynamic=False)  # type: ignore[assignment]
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        # code compiled for another model of the same class, without taps, must not be taken for this one
        guarded = torch._dynamo.config.patch(skip_nnmodule_hook_guards=False)
        with guarded, torch.random.fork_rng(devices=[sample.device] if sample.is_cuda else []):
            logits = answer(fast, sample)
            if logits.requires_grad:
                logits.float().sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever the compiler or a missing C++ compiler raises
        reason = (str(error).splitlines() or [""])[0][:120]
        warnings.warn(f"compiling failed, so this run goes uncompiled ({type(error).__name__}: {reason})", stacklevel=2)
        return module
    finally:
        for name, buffer in module.named_buffers():
            buffer.copy_(before[name])
        module.zero_grad()
    return fast
