"""Propose students for limits of latency, size or work, from what candidates cost on this machine.

Candidates have random weights and are not trained; which is the most accurate on your images only a training can say.

Example: stkd suggest --data folder:PATH --teacher-weights runs/teacher --latency 5ms
"""

from __future__ import annotations

import json

from jsonargparse import Namespace

from ...core.config import CheckConfig, build
from ...core.options import Parser, add_options

SUMMARY = "propose students for a latency, a size or MACs"

_TEACHER = {"teacher", "teacher_options", "teacher_weights", "teacher_size"}
_OPTIONS = {"data", "labels", "image_size", "nested", *_TEACHER, "accelerator", "plugin"}


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.usage = "%(prog)s --data KIND[:PATH] [--latency X] [--size X] [--macs X] [OPTIONS]"
    group = parser.add_argument_group("Limits")
    group.add_argument("--latency", type=str | None, metavar="X", help="most time of one image, such as 5ms")
    group.add_argument("--size", type=str | None, metavar="X", help="largest file of weights in float32, such as 2MB")
    group.add_argument("--macs", type=str | None, metavar="X", help="most multiply-accumulates, such as 50M")
    add_options(parser, CheckConfig, _OPTIONS)
    parser.add_argument("--json", action="store_true", help="print JSON, which lists all candidates")


def run(args: Namespace) -> int:
    """Measure and propose; 1 where no candidate meets the limits."""
    from ...studies.suggest.limits import Limits

    limits = Limits.of(args.latency, args.size, args.macs)
    config = build(CheckConfig, {name: args[name] for name in _OPTIONS if args[name] is not None})
    from ...studies.suggest.suggestion import suggest

    suggestion = suggest(config, limits)
    if args.json:
        print(json.dumps(suggestion.as_dict()))
    else:
        from ..tables.suggestion import show_suggestion

        show_suggestion(suggestion)
    return 0 if suggestion.proposed else 1
