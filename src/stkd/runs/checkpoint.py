"""Checkpoints: plain tensors and containers, written whole or not at all, read without unpickling foreign objects."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import torch

from ..core import manifest
from ..core.manifest import Damaged

__all__ = ["load_checkpoint", "newest_checkpoint", "save_checkpoint"]

_log = logging.getLogger(__name__)

_PREVIOUS = "previous.pt"


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint; the one that it replaces is kept beside it, as previous.pt.

    Raises:
        OSError: The disk is full; the checkpoint before stays as it was.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    if path.exists():
        manifest.link(path, path.with_name(_PREVIOUS))
    manifest.write(path, buffer.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        OSError: It cannot be read.
        Damaged: It is damaged.
        StkdError: The manifest beside it is.
    """
    damaged = Damaged(f"checkpoint {path} is damaged; delete {path.parent} to train from the beginning")
    try:
        content = manifest.read(path)
    except Damaged:
        raise damaged from None
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # torch.load raises many kinds for damaged files
        raise damaged from None
    if not isinstance(state, dict) or "identity" not in state:
        raise damaged
    return state


def newest_checkpoint(path: Path, *, mend: bool) -> dict[str, Any]:
    """Read a checkpoint, or where it is damaged the one that it replaced.

    Args:
        path: The file.
        mend: Put the one before it in its place.

    Raises:
        Damaged: Both are damaged, or there is no other.
        StkdError: The manifest beside them is.
    """
    try:
        return load_checkpoint(path)
    except Damaged as error:
        damaged, previous = error, path.with_name(_PREVIOUS)
    try:
        state = load_checkpoint(previous)
    except (OSError, Damaged):
        raise damaged from None
    if mend:
        manifest.link(previous, path)
    _log.warning(
        "checkpoint %s is damaged; the run goes on from the one before it, of epoch %d, step %d",
        *(path, state["epoch"] + 1, state["step"]),
    )
    return state
