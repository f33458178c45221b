"""Fit a new head on the features of a trained model, and write the model with that head.

It takes the options of 'stkd distill' that name the data and the teacher, with --out for a folder. The model is not
trained. What it writes is a teacher for these classes (--teacher-weights DIR), or a start (stkd train --weights DIR).
"""

from __future__ import annotations

from jsonargparse import Namespace

from ...core.config import ProbeConfig
from ...core.options import Parser, add_config, config_from
from ...core.processes import check_alone

SUMMARY = "fit a new head on the features of a trained model"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_config(parser, ProbeConfig)


def run(args: Namespace) -> int:
    """Fit the head, and print how good it is."""
    config = config_from(ProbeConfig, args)
    check_alone(config.devices)
    from ...training.probe_writer import run_probe

    done = run_probe(config)
    said = ""
    for name, images in (("test", "test images"), ("val", "validation images")):
        if name in done.record and not said:
            said = f": right on {done.record[name]['top1']:.2%} of {done.record[name]['images']:,} {images}"
    print(f"{done.weights}{said}; teach with it by 'stkd distill --teacher-weights {config.out}'")
    return 0
