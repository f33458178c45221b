"""The speed of a training step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from .plain import plain_console

if TYPE_CHECKING:
    from ...studies.bench import BenchResult

__all__ = ["show_bench"]


def show_bench(result: BenchResult) -> None:
    """Print speed, its ratio to the bare loop, where a step's time goes, and how the models are run.

    Args:
        result: By `stkd.studies.bench.bench`.
    """
    console = plain_console()
    for line in _summary(result):
        console.print(line, soft_wrap=True)
    table = Table(box=box.SIMPLE)
    table.add_column("part")
    table.add_column("ms", justify="right")
    table.add_column("share", justify="right")
    whole = sum(result.parts.values())
    for part, ms in result.parts.items():
        table.add_row(Text(part.replace("_", " ")), f"{ms:.2f}", f"{ms / whole:.1%}")
    console.print(table)
    console.print(
        Text(", ".join(f"{part.replace('_', ' ')} {share:.1%}" for part, share in result.shares.items())),
        soft_wrap=True,
    )
    flops, memory = result.flops, result.memory
    console.print(
        f"{flops.achieved / 1e9:.0f} GFLOP/s, {flops.share:.0%} of this device's matrix product in "
        f"{flops.dtype} ({flops.product_rate / 1e9:.0f}); a copy moves {memory.copy_bytes_per_s / 1e9:.1f} "
        f"GB/s{'' if memory.peak_bytes is None else f'; peak memory {memory.peak_bytes / 2**30:.2f} GiB'}",
        soft_wrap=True,
    )
    console.print(Text("; ".join(_ways(result.speed))), soft_wrap=True)
    if result.teacher_weights == "random" and all(own["precision"] != "int8" for own in result.speed["teachers"]):
        console.print(
            "random weights cannot show whether an int8 teacher is accurate enough, so int8 was left out; "
            "give --teacher-weights",
            soft_wrap=True,
        )


def _summary(result: BenchResult) -> Iterator[Text]:
    yield Text(
        f"{result.teacher} -> {result.student}, {result.method}, batch {result.batch_size}, "
        f"{result.image_size} pixels, {result.precision} on {result.device}; random images, "
        f"{result.teacher_weights} weights of the teacher"
    )
    yield Text.assemble(
        (f"{result.images_per_s:.0f} images/s", "bold"),
        f", {result.ratio:.2f} times the bare float32 loop ({result.bare_images_per_s:.0f}); "
        f"medians of {len(result.pairs)} pairs",
    )


def _ways(speed: Mapping[str, Any]) -> Iterator[str]:
    """How teachers and student are run, a few words each."""
    for record in speed.get("teachers", []):
        if record is not None:
            execution = f", {record['execution']}" if "execution" in record else ""
            yield f"teacher in {record['precision']} by {record['engine']}{execution}"
    if "student" in speed:
        yield f"student {speed['student']}"
    if "setup_seconds" in speed:
        yield f"ready after {speed['setup_seconds']:g} s"
