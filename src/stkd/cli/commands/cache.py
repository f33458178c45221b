"""Write a teacher's logits for the virtual samples of a run; students then learn from them without the teacher.

It takes the options of 'stkd distill', with --out for the cache. Then distil with --teacher-cache DIR. The same command
again resumes where it was stopped; with more --epochs it extends the cache.
"""

from __future__ import annotations

from jsonargparse import Namespace

from ...core.config import CacheConfig
from ...core.options import Parser, add_config, config_from
from ...core.processes import check_alone

SUMMARY = "write a teacher's logits, for students to learn from"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    add_config(parser, CacheConfig)


def run(args: Namespace) -> int:
    """Write the cache, and print how to learn from it."""
    config = config_from(CacheConfig, args)
    check_alone(config.devices)
    from ...training.cache_writer import run_cache

    done = run_cache(config)
    state = f"{done.written} epochs written" if done.written else "was finished before"
    print(f"{done.out}: {state}; learn from it with 'stkd distill --teacher-cache {done.out}'")
    return 0
