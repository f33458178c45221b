"""The commands, one file each: a summary, its arguments, and the call of the library.

A module is a command when it defines `SUMMARY` (one line for `stkd --help`), `add_arguments(parser)` and
`run(args) -> int` (the exit code). torch is imported inside `run`, so that --help and mistakes answer at once.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol, cast

from jsonargparse import Namespace

from ...core.options import Parser

__all__ = ["Command", "commands"]

_FIRST = ("demo", "train", "distill", "evaluate", "predict")  # as help shows them; the others follow by name


class Command(Protocol):
    """What a module of this package has."""

    __name__: str
    __doc__: str | None
    SUMMARY: str

    def add_arguments(self, parser: Parser) -> None:
        """Declare the arguments."""

    def run(self, args: Namespace) -> int:
        """Call the library and print what comes of it; returns the exit code."""


def commands() -> dict[str, Command]:
    """All commands by name."""
    names = sorted((m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_")), key=_order)
    return {name: cast(Command, importlib.import_module(f"{__name__}.{name}")) for name in names}


def _order(name: str) -> tuple[int, str]:
    return (_FIRST.index(name) if name in _FIRST else len(_FIRST), name)
