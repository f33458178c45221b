"""Write a run's model as a file for another runtime, or as a page for browsers.

The file is compared with the model on up to 300 images of the run's test split, and kept only if it answers alike. It
is timed in its own runtime beside PyTorch. 'stkd list formats' lists the formats.
"""

from __future__ import annotations

import json
from pathlib import Path

from jsonargparse import Namespace

from ...core.options import Parser
from ._plugin import add_plugin, load_given

SUMMARY = "write a run's model for another runtime"

_OPTIONS = ("runtime", "whole_pictures", "qad")  # of some formats alone


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--to", type=str, required=True, metavar="FORMAT", help="format, see 'stkd list formats'")
    parser.add_argument(
        "--out", type=Path | None, metavar="FILE", help="the file, or the page's folder [in RUN/exports]"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing export")
    parser.add_argument("--runtime", type=Path | None, metavar="DIR", help="for web: the npm package onnxruntime-web")
    parser.add_argument(
        "--whole-pictures", action="store_true", help="for onnx: one picture of any size, resized inside"
    )
    parser.add_argument(
        "--qad", type=int | None, metavar="EPOCHS", help="for int8-onnx: first train the model for the roundings"
    )
    parser.add_argument("--data", type=str | None, metavar="KIND[:PATH]", help="check it on another data set's images")
    add_plugin(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: Namespace) -> int:
    """Export, and print what was measured."""
    from ...export import export_run
    from ..tables.exports import show_export

    load_given(args.plugin)
    options = {name: args[name] for name in _OPTIONS if args[name] is not None and args[name] is not False}
    exported = export_run(args.run, args.to, out=args.out, force=args.force, data_spec=args.data, **options)
    if args.json:
        print(json.dumps(exported.record))
    else:
        show_export(exported.record, str(exported.file), str(args.run))
    return 0
