"""Write the page of a run or of a comparison: one HTML file with curves, reliability, similarities and examples."""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ...core.options import Parser
from ._plugin import add_plugin, load_given

SUMMARY = "write the page of a run or of a comparison"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("path", type=Path, help="directory of a run or of a comparison")
    add_plugin(parser)


def run(args: Namespace) -> int:
    """Write the page and print where it is."""
    from ...report import write_report

    load_given(args.plugin)
    print(write_report(args.path))
    return 0
