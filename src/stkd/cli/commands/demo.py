"""Train a teacher, and a student alone, with mixup, with KD and with STKD, on handwritten digits, in a few minutes."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ...core.options import Parser

SUMMARY = "see it work on digits, in a few minutes"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="where to write [runs/demo]")


def run(args: Namespace) -> int:
    """Make the demo and print its table."""
    from ...studies.demo import demo
    from ..tables.demo import show_demo

    show_demo(demo(args.out))
    return 0
