"""Read all files of a run, of a teacher's cache or of an export, and compare them with what was written.

The exit code is 1 if a file is damaged or missing. A folder that holds several of them does too.
"""

from __future__ import annotations

from pathlib import Path

from jsonargparse import Namespace

from ...core.options import Parser

SUMMARY = "find damaged files in runs, caches and exports"


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("path", type=Path, help="a run, a cache, a folder of them, or an export that lies in its run")


def run(args: Namespace) -> int:
    """Compare the files, print those that are not right and how many there are of each kind."""
    from ...runs.verification import verify
    from ..tables.verification import show_verification

    found = verify(args.path)
    show_verification(found, args.path)
    return 1 if {"damaged", "missing"} & {*found.values()} else 0
