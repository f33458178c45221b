"""The students that `stkd suggest` proposes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from .plain import plain_console

if TYPE_CHECKING:
    from ...studies.suggest.limits import Limits
    from ...studies.suggest.suggestion import Costs, Suggestion

__all__ = ["show_suggestion"]


def show_suggestion(suggestion: Suggestion) -> None:
    """Print what is proposed, or where nothing meets the limits the nearest; the teacher beside it."""
    console = plain_console()
    shown = suggestion.proposed or [one for one in (suggestion.nearest,) if one is not None]
    table = Table(box=box.SIMPLE, padding=0, pad_edge=False)
    table.add_column("student", overflow="fold")
    for name in (f"{suggestion.benchmark}\n(%)", "params\n(M)", "MB", "MACs\n(M)", "ms", "middle half"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in shown:
        table.add_row(*map(Text, _cells(one.model, one)))
    if suggestion.teacher is not None:
        table.add_row(*map(Text, _cells(f"(teacher) {suggestion.teacher.model}", suggestion.teacher)))
    console.print(table)
    for line in _words(suggestion):
        console.print(Text(line), soft_wrap=True)


def _cells(name: str, costs: Costs) -> Iterator[str]:
    low, high = costs.latency_spread_ms
    yield name
    yield "" if costs.accuracy is None else f"{costs.accuracy:.1f}"
    yield f"{costs.params / 1e6:.2f}"
    yield f"{costs.file_bytes / 1e6:.2f}"
    yield f"{costs.macs / 1e6:.1f}"
    yield f"{costs.latency_ms:.2f}"
    yield f"{low:.3g} to {high:.3g}"


def _words(suggestion: Suggestion) -> Iterator[str]:
    number, limits = len(suggestion.candidates), _limits(suggestion.limits)
    if suggestion.nearest is not None:
        yield f"none of {number} candidates meets {limits}; {suggestion.nearest.model} is the nearest"
    else:
        yield f"of {number} candidates, the most accurate on {suggestion.benchmark} that meet {limits}"
    if suggestion.disturbed:
        yield "the times of equal passes lie far apart: something else is running; time again on a quiet machine"
    yield (
        f"timed with one image in PyTorch, float32, on {suggestion.size} x {suggestion.size} pixels, "
        f"{suggestion.device}, threads: {suggestion.threads}; "
        "exported files are mostly faster, int8 a quarter of the size (docs/export.md)"
    )
    yield (
        f"{suggestion.benchmark}: published top-1 without a teacher, an order and no prediction for other images; "
        "stkd compare --students tells which is best on yours"
    )


def _limits(limits: Limits) -> str:
    parts = []
    if limits.latency_ms is not None:
        parts.append(f"{limits.latency_ms:g} ms")
    if limits.file_bytes is not None:
        parts.append(f"{limits.file_bytes / 1e6:g} MB")
    if limits.macs is not None:
        parts.append(f"{limits.macs / 1e6:g} M MACs")
    return " and ".join(parts)
