"""Write a teacher's logits for the virtual samples of a run; students then learn from them without the teacher.

Takes the options of 'stkd distill', so that the same command will do, with --out for the cache. Then distil with
--teacher-cache DIR. Killed, the same command goes on; with more --epochs it lengthens the cache.
"""

from __future__ import annotations

from jsonargparse import Namespace

from ...core.config import CacheConfig
from ...core.options import Parser, add_config, config_from
from ...core.processes import check_launch

SUMMARY = "write a teacher's logits, for students to learn from"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_config(parser, CacheConfig)


def run(args: Namespace) -> int:
    """Write the cache, and print how to learn from it."""
    config = config_from(CacheConfig, args)
    check_launch(config.devices)
    from ...training.cache import run_cache

    done = run_cache(config)
    state = f"{done.written} epochs written" if done.written else "was finished before"
    print(f"{done.out}: {state}; learn from it with 'stkd distill --teacher-cache {done.out}'")
    return 0
