"""Teacher, student alone, mixup, KD and STKD on handwritten digits, in a few minutes."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ...core.options import Parser

SUMMARY = "see it work on digits, in a few minutes"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="where to write [runs/demo]")


def run(args: Namespace) -> int:
    """Do it."""
    from ...studies.demo import demo

    demo(args.out)
    return 0
