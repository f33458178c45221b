"""The terminal as all tables see it: names of classes, files and models are never read as markup."""

from __future__ import annotations

import os

from rich.console import Console

__all__ = ["plain_console", "printable"]


def plain_console(width: int | None = None) -> Console:
    """A console that prints every text as it is: "[green]" and ":apple:" too.

    Args:
        width: In characters; None takes the terminal's.
    """
    return Console(width=width, markup=False, emoji=False, highlight=False)


def printable(path: str) -> str:
    """A path with bytes that are no UTF-8 written out, such as \\xff."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
