"""Classify images with a run's student, and with its teacher where it has one."""

from __future__ import annotations

import json
from pathlib import Path

from jsonargparse import Namespace

from ...core.options import Parser
from ._plugin import add_plugin, load_given

SUMMARY = "classify images with a run's student"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", type=Path, help="run directory, or weights written by stkd")
    parser.add_argument("images", type=Path, nargs="+", help="image files")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="classes to show [5]")
    add_plugin(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: Namespace) -> int:
    """Print the most probable classes of each image."""
    from ...runs.prediction import predict_images

    load_given(args.plugin)
    predictions = predict_images(args.run, args.images, top=args.top)
    if args.json:
        print(json.dumps(predictions))
        return 0
    from ..tables.predictions import show_predictions

    show_predictions(predictions)
    return 0
