"""Distil a teacher into a student."""

from __future__ import annotations

from jsonargparse import Namespace

from ...core.config import DistillConfig
from ...core.options import Parser, add_config, config_from
from ...core.processes import launch_of
from ._result import report_result

SUMMARY = "distil a teacher into a student"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_config(parser, DistillConfig)


def run(args: Namespace) -> int:
    """Distil as the options say, and print what came of it."""
    config = config_from(DistillConfig, args)
    launch_of(config.devices)  # before torch is loaded
    from ...api import run_distill

    return report_result(run_distill(config))
