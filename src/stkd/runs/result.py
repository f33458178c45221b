"""What came of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

__all__ = ["Result"]


@dataclass(frozen=True)
class Result:
    """What came of a run.

    Attributes:
        out: The run directory.
        weights: The final weights.
        scores: What result.json holds: scores of the last epoch, time and amount of work.
        fresh: False if the run had been finished before and nothing was done.
        model: The trained model, on the CPU; None if nothing was done.
    """

    out: Path
    weights: Path
    scores: dict[str, Any]
    fresh: bool
    model: nn.Module | None = field(default=None, repr=False)
