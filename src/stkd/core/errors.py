"""Errors whose message is one line for the user: what is wrong and how to mend it, or how to go on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["Busy", "Interrupted", "LaunchError", "StkdError", "Terminated", "UnknownName", "unknown"]


class StkdError(Exception):
    """Bad input from outside (a path, a name, a file, a number). The command line prints it and exits with code 2."""


class UnknownName(StkdError):
    """A name that does not exist; a plug-in may define it."""


class LaunchError(StkdError):
    """A launcher started this process in a way in which a run cannot work; each of its processes says so."""


class Busy(StkdError):
    """Another process is writing to the same folder."""


class Interrupted(Exception):
    """A run was asked to stop, and has written a checkpoint.

    Attributes:
        signum: The signal that asked.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum


class Terminated(KeyboardInterrupt):
    """SIGTERM arrived outside the training loop; it is handled like Ctrl-C, with another exit code.

    Attributes:
        signum: The signal's number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def unknown(kind: str, name: str, names: Iterable[str]) -> UnknownName:
    """An error for a name that does not exist, with the nearest ones that do.

    Args:
        kind: What the name stands for, in words ("method", "model").
        name: What was asked for.
        names: Every name that exists.
    """
    known = sorted(names)
    lower = {n.lower(): n for n in known}
    near = [lower[n] for n in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.5)]
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"known: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}"
    )
    return UnknownName(f"unknown {kind} {name!r}; {hint}")
