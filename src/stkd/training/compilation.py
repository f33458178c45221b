"""Whether compiling pays, and compiling that falls back to the model as it is."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from .. import rewriting

__all__ = ["Way", "compiled", "pays"]

Way = Literal["eager", "rewritten", "compiled"]
"""How a model is run: as it is, with its graph rewritten, or as torch.compile makes it."""

_COMPILING_PAYS = {"cpu": 7e13, "cuda": 2.5e15}
_REWRITING_PAYS = 2.5e13
"""Multiply-accumulates of a run from which it saves more time than it takes.

Rewriting: between the first and a later time on a machine in results/compiling.json. Compiling on a CPU: as that file
had it for resnet56 -> resnet20 in float32 before such models were rewritten (1dc5181). CUDA: not measured, a guess.
"""


def pays(module: nn.Module, device: torch.device, work: float) -> bool:
    """Whether `compiled` wins back the time that it takes.

    Args:
        module: A model on the device.
        device: Where it runs.
        work: Multiply-accumulates of the whole run.
    """
    least = _REWRITING_PAYS if rewriting.helps(module) else _COMPILING_PAYS.get(device.type, float("inf"))
    return work >= least


def compiled(module: nn.Module, sample: Tensor, answer: Callable[[nn.Module, Tensor], Tensor]) -> tuple[nn.Module, Way]:
    """The module compiled for batches like `sample`, or itself, with a note, where that fails.

    On a CPU that is its graph with faster parts (stkd.rewriting), if it has such: torch.compile's own code is hardly
    faster there than the model as it is. Otherwise it is what torch.compile makes.

    It shares parameters and buffers with the module, whose names in a state dict stay as they are. Taps must be set
    before. Neither weights, statistics, gradients nor random numbers are changed.

    Args:
        module: The module, in the mode in which it will run.
        sample: Images (R, C, H, W) of the shape of every batch.
        answer: Runs a module on images as the training step does; the backward pass follows if there is one.

    Returns:
        The module, and how it is run.
    """
    import torch._dynamo  # seconds, which a run that compiles nothing need not spend

    rewrites = rewriting.helps(module)
    fast = _Alone(module, rewrites)
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        # where a graph breaks, its parts share code with other models of the class, whose taps are not these
        guarded = torch._dynamo.config.patch(skip_nnmodule_hook_guards=False)
        with guarded, torch.random.fork_rng(devices=[sample.device] if sample.is_cuda else []):
            logits = answer(fast, sample)
            if logits.requires_grad:
                logits.float().sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:  # whatever the compiler or a missing C++ compiler raises
        cause = getattr(error, "inner_exception", error)  # what a backend raised
        reason = (str(cause).splitlines() or [""])[0][:120]
        warnings.warn(f"compiling failed, so this run goes uncompiled ({type(cause).__name__}: {reason})", stacklevel=2)
        return module, "eager"
    finally:
        for name, buffer in module.named_buffers():
            buffer.copy_(before[name])
        module.zero_grad()
    return fast, "rewritten" if rewrites else "compiled"


class _Alone(nn.Module):
    """A module that is compiled as code of its own.

    torch keeps what it compiles by code, of which all models of a class share one, and no more than eight of each.
    """

    def __init__(self, module: nn.Module, rewrites: bool) -> None:
        super().__init__()
        self.module = module

        def run(images: Tensor) -> Any:
            return module(images)

        run.__code__ = run.__code__.replace()
        # a rewritten graph is run as it is, with as many threads as there are, which students side by side change
        how: dict[str, Any] = {"backend": rewriting.rewrite, "options": {"guard_filter_fn": _all_but_global_state}}
        self._run = torch.compile(run, dynamic=False, **how if rewrites else {})

    def forward(self, images: Tensor) -> Any:
        return self._run(images)


def _all_but_global_state(guards: Sequence[Any]) -> list[bool]:
    return [guard.guard_type != "GLOBAL_STATE" for guard in guards]
