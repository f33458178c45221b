"""A user's own module, used as a teacher for a while and given back as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

__all__ = ["borrowed"]


@contextmanager
def borrowed(module: nn.Module) -> Iterator[nn.Module]:
    """While this lasts a module may be frozen, moved and put in another mode; then all of that is undone.

    Its parameters are the same objects as before, with the same memory, device and layout. Their values must not be
    changed meanwhile.
    """
    modes = {part: part.training for part in module.modules()}
    parameters = [(parameter, parameter.data, parameter.requires_grad) for parameter in module.parameters()]
    buffers = {part: dict(part.named_buffers(recurse=False)) for part in module.modules()}
    try:
        yield module
    finally:
        for part, mode in modes.items():
            part.training = mode
        for parameter, data, flag in parameters:
            parameter.data = data
            parameter.requires_grad_(flag)
        for part, own in buffers.items():
            part._buffers.update(own)
