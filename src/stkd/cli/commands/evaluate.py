"""Score a finished run: accuracy, calibration, what it took over from its teacher, robustness, size and speed."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from ...core.options import Parser
from ._plugin import add_plugin, load_given

log = logging.getLogger(__name__)

SUMMARY = "score a finished run"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("run", type=Path, help="run directory")
    parser.add_argument("--split", type=str, default="test", metavar="NAME", help="test, val or train [test]")
    parser.add_argument("--data", type=str | None, metavar="KIND[:PATH]", help="another data set with the same classes")
    parser.add_argument("--alone", type=Path | None, metavar="RUN", help="the student trained alone, to compare with")
    parser.add_argument("--robustness", action="store_true", help="accuracy under common corruptions (71 passes)")
    parser.add_argument("--ood", type=str | None, metavar="KIND[:PATH]", help="confidence on another data set")
    add_plugin(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, which holds more than the table")


def run(args: Namespace) -> int:
    """Do it."""
    from ...runs.inspection import evaluate_run
    from ..evaluation_table import show_evaluation

    load_given(args.plugin)
    found = evaluate_run(
        args.run, split=args.split, data_spec=args.data, alone=args.alone, corrupted=args.robustness, ood=args.ood
    )
    if args.json:
        print(json.dumps(found))
    else:
        show_evaluation(found, str(args.run))
    if args.split == "test" and args.data is None:
        _keep(args.run, found)
    return 0


def _keep(run: Path, found: dict[str, Any]) -> None:
    """Leave it beside the run for its page, if that can be written."""
    from ...runs.evaluation import keep_evaluation

    try:
        keep_evaluation(run, found)
    except OSError as error:
        log.warning("the run's page will not show this: %s (%s)", error.strerror, run)
