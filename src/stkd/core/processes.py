"""Which of a run's processes this is."""

from __future__ import annotations

import os

__all__ = ["process_rank"]


def process_rank() -> int:
    """Number of this process within its run, from 0, as torchrun and Fabric's launcher tell it."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))
