"""Score a finished run: accuracy, NLL, ECE, agreement, size and speed."""

from __future__ import annotations

import json
from pathlib import Path

from jsonargparse import Namespace

from ..options import Parser

SUMMARY = "score a finished run"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--split", type=str, default="test", metavar="NAME", help="test, val or train [test]")
    parser.add_argument("--data", type=str | None, metavar="KIND[:PATH]", help="another data set with the same classes")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: Namespace) -> int:
    """Do it."""
    from ..inspection import evaluate_run

    found = evaluate_run(args.run, split=args.split, data_spec=args.data)
    if args.json:
        print(json.dumps(found))
        return 0
    from ..tables import show_scores

    show_scores(found, str(args.run))
    return 0
