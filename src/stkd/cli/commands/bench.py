"""Time the training step of a pair of models on this machine, part by part, beside a bare loop.

Weights and images are random.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from jsonargparse import Namespace

from ...core.options import Parser

if TYPE_CHECKING:
    from ...studies.bench import BenchResult

SUMMARY = "time the training step on this machine"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("--teacher", type=str, required=True, metavar="NAME", help="teacher by name")
    parser.add_argument("--student", type=str, required=True, metavar="NAME", help="student by name")
    parser.add_argument("--method", type=str, default="stkd", metavar="NAME", help="method [stkd]")
    parser.add_argument("--batch-size", type=int, default=64, metavar="N", help="images in a step [64]")
    parser.add_argument("--image-size", type=int, default=32, metavar="N", help="side in pixels [32]")
    parser.add_argument("--classes", type=int, default=100, metavar="N", help="number of classes [100]")
    parser.add_argument(
        "--precision", type=Literal["auto", "32", "bf16", "16"], default="auto", help="as in distill [auto]"
    )
    parser.add_argument(
        "--teacher-precision",
        type=Literal["auto", "32", "bf16", "int8"],
        default="bf16",
        help="as in distill; a trained teacher may go in int8, which random weights cannot show [bf16]",
    )
    parser.add_argument(
        "--compile", type=Literal["auto", "none", "teacher", "all"], default="auto", help="as in a long run [auto]"
    )
    parser.add_argument("--accelerator", type=str, default="auto", metavar="NAME", help="cpu, cuda or auto [auto]")
    parser.add_argument("--pairs", type=int, default=5, metavar="N", help="runs of each loop, in turn [5]")
    parser.add_argument("--seconds", type=float, default=2.0, metavar="X", help="length of one such run [2]")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: Namespace) -> int:
    """Measure, and print a table or JSON."""
    from ...studies.bench import bench

    options = {k: v for k, v in vars(args).items() if k not in ("json", "teacher", "student")}
    result = bench(args.teacher, args.student, **options)
    if args.json:
        print(json.dumps(result.as_dict()))
    else:
        _show(result)
    return 0


def _show(result: BenchResult) -> None:
    """Print speed, its ratio to the bare loop, and where the time of a step goes."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(
        f"{result.teacher} -> {result.student}, {result.method}, batch {result.batch_size}, "
        f"{result.image_size} pixels, {result.precision} on {result.device}; random weights and images"
    )
    console.print(
        f"[bold]{result.images_per_s:.0f} images/s[/], {result.ratio:.2f} times the bare float32 loop "
        f"({result.bare_images_per_s:.0f}); medians of {len(result.pairs)} pairs"
    )
    table = Table(box=box.SIMPLE)
    table.add_column("part")
    table.add_column("ms", justify="right")
    table.add_column("share", justify="right")
    whole = sum(result.parts.values())
    for part, ms in result.parts.items():
        table.add_row(part.replace("_", " "), f"{ms:.2f}", f"{ms / whole:.1%}")
    console.print(table)
    flops, memory = result.flops, result.memory
    console.print(
        f"{flops.achieved / 1e9:.0f} GFLOP/s, {flops.share:.0%} of this device's matrix product in "
        f"{flops.dtype} ({flops.product_rate / 1e9:.0f}); a copy moves {memory.copy_bytes_per_s / 1e9:.1f} "
        f"GB/s; peak memory {memory.peak_bytes / 2**30:.2f} GiB"
    )
    console.print(f"chosen: {result.speed}", soft_wrap=True)
