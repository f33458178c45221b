"""Distil several students from one pass of the teacher.

STUDENTS is a YAML file with a line for each student, such as 'small: {student: resnet8, seed: 1}'. The name is that of
its run directory below --out. A line may set the student, the method, the seed and options of the optimiser, but not
epochs and batch size. All other options are flags and hold for all students.
"""

from __future__ import annotations

import logging
from pathlib import Path

from jsonargparse import Namespace

from ...core.config import DistillConfig
from ...core.options import Parser, add_config, options_from
from ...core.processes import check_alone
from ._result import report_result

log = logging.getLogger(__name__)

SUMMARY = "distil several students from one teacher pass"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("students", type=Path, metavar="STUDENTS", help="YAML file of students and their own options")
    add_config(parser, DistillConfig)
    parser.usage = "%(prog)s STUDENTS --data KIND[:PATH] --out DIR [OPTIONS]"


def run(args: Namespace) -> int:
    """Train the students, and print what came of each; 2 where one failed."""
    options = options_from(DistillConfig, args)
    check_alone(options.get("devices"))
    from ...api import Result, run_many
    from ...training.group_options import configs_of, read_students

    configs = configs_of(options, read_students(args.students))
    code = 0
    for name, result in run_many(configs).items():
        if isinstance(result, Result):
            report_result(result)
        else:
            log.error("%s: %s", name, result)
            code = 2
    return code
