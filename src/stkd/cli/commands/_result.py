"""The last line of a training command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.processes import process_rank

if TYPE_CHECKING:
    from ...api import Result

__all__ = ["report_result"]


def report_result(result: Result) -> int:
    """Print what came of a run; returns the exit code."""
    scores = ", ".join(f"{s} accuracy {result.scores[s]['top1']:.2%}" for s in ("val", "test") if s in result.scores)
    for split, averaged in result.scores.get("ema", {}).items():
        scores += f", {split} accuracy of the averaged weights {averaged['top1']:.2%}"
    state = "" if result.fresh else "was finished before: "
    epochs = result.scores["epochs"]
    if process_rank() == 0:
        print(f"{result.out}: {state}{scores or 'done'} after epoch {epochs} of {epochs}; weights in {result.weights}")
    return 0
