"""Time the training step of a pair of models on this machine, part by part, beside a bare loop.

Without options it is run as 'stkd distill' would run it in a long run. Images are random, and so are weights that are
not given.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from jsonargparse import Namespace

from ...core.options import Parser

SUMMARY = "time the training step on this machine"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("--teacher", type=str | None, metavar="NAME", help="teacher by name")
    parser.add_argument(
        "--teacher-weights",
        type=Path | None,
        metavar="FILE",
        help="weights or run of a trained teacher; random ones cannot show whether int8 is accurate enough",
    )
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
        default="auto",
        help="as in distill [auto]",
    )
    parser.add_argument(
        "--teacher-engine", type=Literal["auto", "torch", "openvino"], default="auto", help="as in distill [auto]"
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
        return 0
    from ..tables.bench import show_bench

    show_bench(result)
    return 0
