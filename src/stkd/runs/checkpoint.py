"""Checkpoints: plain tensors and containers, written whole or not at all, read without unpickling foreign objects."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from ..core.errors import StkdError
from ..core.files import write_atomic

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint.

    Raises:
        OSError: The disk is full; the checkpoint before stays as it was.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomic(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        StkdError: The file is damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or "identity" not in state:
            raise TypeError
    except Exception:  # torch.load raises many kinds for damaged files
        raise StkdError(f"checkpoint {path} is damaged; delete {path.parent} to train from the beginning") from None
    return state
