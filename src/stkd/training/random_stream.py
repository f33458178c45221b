"""Torch's global random numbers, which dropout and the like draw from."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["RandomStream", "random_state", "restore_random_state"]


def random_state() -> dict[str, Any]:
    """Where the generators of all devices are; tensors, for a checkpoint."""
    return {
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_state(state: dict[str, Any]) -> None:
    """Go on from there."""
    torch.set_rng_state(state["rng"])
    if state["cuda_rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda_rng"])


class RandomStream:
    """Random numbers of one's own, from where they are now: inside it a student draws as if it trained alone.

    Args:
        device: Where the student trains; of other devices nothing is kept, since it is entered in every step.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device if device.type == "cuda" else None
        self._own = self._state()

    def __enter__(self) -> None:
        self._outside = self._state()
        self._go_on_from(self._own)

    def __exit__(self, *_: object) -> None:
        self._own = self._state()
        self._go_on_from(self._outside)

    def _state(self) -> tuple[Tensor, Tensor | None]:
        return torch.get_rng_state(), None if self._cuda is None else torch.cuda.get_rng_state(self._cuda)

    def _go_on_from(self, state: tuple[Tensor, Tensor | None]) -> None:
        own, cuda = state
        torch.set_rng_state(own)
        if self._cuda is not None and cuda is not None:
            torch.cuda.set_rng_state(cuda, self._cuda)
