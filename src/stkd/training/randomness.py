"""Torch's global random numbers, which dropout and the like draw from."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["Stream", "random_state", "restore_random_state"]


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


class Stream:
    """Random numbers of one's own, from where they are now: inside it a student draws as if it trained alone."""

    def __init__(self) -> None:
        self._own = random_state()

    def __enter__(self) -> None:
        self._outside = random_state()
        restore_random_state(self._own)

    def __exit__(self, *_: object) -> None:
        self._own = random_state()
        restore_random_state(self._outside)
