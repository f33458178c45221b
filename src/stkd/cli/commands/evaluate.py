"""Score a finished run: accuracy, calibration, similarity to its teacher, robustness, size and speed.

A folder that 'stkd probe' wrote is scored alone, and so is a file that 'stkd export' wrote, on the images of --data.
"""

from __future__ import annotations

import json
from pathlib import Path

from jsonargparse import Namespace

from ...core.errors import StkdError
from ...core.options import Parser
from ._plugin import add_plugin, load_given

SUMMARY = "score a finished run"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", type=Path, help="run directory, folder of 'stkd probe', or exported file")
    parser.add_argument("--split", type=str, default="test", metavar="NAME", help="test, val or train [test]")
    parser.add_argument("--data", type=str | None, metavar="KIND[:PATH]", help="another data set with the same classes")
    parser.add_argument(
        "--alone", type=Path | None, metavar="RUN", help="the same student trained without a teacher, to compare with"
    )
    parser.add_argument("--robustness", action="store_true", help="accuracy under common corruptions (71 passes)")
    parser.add_argument(
        "--robustness-files",
        type=Path | None,
        metavar="DIR",
        help="accuracy on the files of CIFAR-10-C and the like",
    )
    parser.add_argument("--ood", type=str | None, metavar="KIND[:PATH]", help="confidence on another data set")
    add_plugin(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, which holds more than the table")


def run(args: Namespace) -> int:
    """Evaluate the run and print the result."""
    from ...export import evaluate_exported, is_exported
    from ...runs.evaluation import evaluate_run
    from ..tables.evaluation import show_evaluation

    load_given(args.plugin)
    how = {"split": args.split, "corrupted": args.robustness_files or args.robustness, "ood": args.ood}
    if is_exported(args.run):
        if args.alone is not None:
            raise StkdError("--alone compares a run with another run; give the run in place of the exported file")
        evaluation = evaluate_exported(args.run, args.data, **how)
    else:
        evaluation = evaluate_run(args.run, data_spec=args.data, alone=args.alone, **how)
    if args.json:
        print(json.dumps(evaluation))
    else:
        show_evaluation(evaluation, str(args.run))
    return 0
