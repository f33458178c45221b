"""Classify images with a run's student, and with its teacher where it has one.

Images are files, folders with all below them, and patterns such as 'photos/*.jpg'. An image that cannot be read has the
reason in its row, and the exit code is 1; where none can be read it is 2. Given the run's weights file instead of its
directory, the student alone is asked, and so is a file that 'stkd export' wrote.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from ...core.errors import StkdError
from ...core.options import Parser
from ._plugin import add_plugin, load_given

SUMMARY = "classify images with a run's student"

_log = logging.getLogger(__name__)


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", type=Path, help="run directory, weights written by stkd, or an exported file")
    parser.add_argument("images", type=str, nargs="+", help="image files, folders of them, or quoted patterns")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="classes to show [5]")
    parser.add_argument("--csv", type=str | None, metavar="FILE", help="write CSV, a row for each image; - prints it")
    add_plugin(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: Namespace) -> int:
    """Print or write the most probable classes of each image; 1 where some images could not be read."""
    from ...core.files import write_atomic
    from ..prediction_csv import as_csv
    from ..tables.predictions import show_predictions

    to_file = args.csv is not None and args.csv != "-"
    if args.json and args.csv == "-":
        raise StkdError("--json and --csv - both print; leave one out, or give --csv a file")
    if to_file and (Path(args.csv).is_dir() or not Path(args.csv).parent.is_dir()):
        raise StkdError(f"--csv {args.csv} cannot be written: give a file in a folder that is there")
    load_given(args.plugin)
    predictions = _predictions(args)
    if to_file:
        write_atomic(Path(args.csv), as_csv(predictions))
    if args.json:
        print(json.dumps(predictions))
    elif args.csv == "-":
        sys.stdout.buffer.write(as_csv(predictions))
    elif to_file:
        print(f"{args.csv}: {len(predictions):,} images")
    else:
        show_predictions(predictions)
    unread = sum("error" in prediction for prediction in predictions)
    if unread:
        _log.warning("%d of %d images could not be read; their rows say why", unread, len(predictions))
    return 1 if unread else 0


def _predictions(args: Namespace) -> list[dict[str, Any]]:
    """Answers of a run or its weights, or of an exported file."""
    from ...runs.prediction import predict_images

    # what was trained here needs none of the formats, whose libraries take seconds to load
    if args.run.suffix != ".safetensors" and not (args.run / "config.yaml").is_file():
        from ...export import is_exported, predict_exported

        if is_exported(args.run):
            return predict_exported(args.run, args.images, top=args.top)
    return predict_images(args.run, args.images, top=args.top)
