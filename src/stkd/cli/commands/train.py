"""Train one model alone."""

from __future__ import annotations

from jsonargparse import Namespace

from ...core.config import TrainConfig
from ...core.options import Parser, add_config, config_from
from ...core.processes import launch_of
from ._result import report_result

SUMMARY = "train one model alone, a teacher for example"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_config(parser, TrainConfig)


def run(args: Namespace) -> int:
    """Train as the options say, and print what came of it."""
    config = config_from(TrainConfig, args)
    launch_of(config.devices)  # before torch is loaded
    from ...api import run_train

    return report_result(run_train(config))
