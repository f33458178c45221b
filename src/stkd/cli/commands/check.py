"""Check a teacher, images and budget, as every training does first; nothing is trained.

Errors would stop a training in every mode but --preflight off, warnings with --preflight strict.
"""

from __future__ import annotations

import json

from jsonargparse import Namespace

from ...core.config import CheckConfig
from ...core.options import Parser, add_config, config_from

SUMMARY = "check a teacher and images before training"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_config(parser, CheckConfig)
    parser.add_argument("--full", action="store_true", help="look at all files, however long that takes")
    parser.add_argument("--json", action="store_true", help="print JSON, which lists all names")


def run(args: Namespace) -> int:
    """Check, and print what is found; the exit code is 2 if a training would be stopped."""
    config = config_from(CheckConfig, args)
    from ...api import run_check
    from ..tables.findings import show_findings

    report = run_check(config, full=args.full)
    if args.json:
        print(json.dumps(report.record()))
    else:
        show_findings(report)
    stops = report.of("error", "warning") if config.preflight == "strict" else report.of("error")
    return 2 if stops else 0
