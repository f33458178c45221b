"""Errors whose message is one line for the user: what is wrong and how to mend it, or how to go on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "SEEDS",
    "Busy",
    "Ended",
    "Interrupted",
    "LaunchError",
    "StkdError",
    "Terminated",
    "UnknownName",
    "check_range",
    "unknown",
]


class StkdError(Exception):
    """Bad input from outside (a path, a name, a file, a number). The command line prints it and exits with code 2."""


class UnknownName(StkdError):
    """A name that does not exist; a plug-in may define it."""


class LaunchError(StkdError):
    """A launcher started this process in a way in which a run cannot work."""


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


class Ended(Exception):
    """Another process of the run has ended, and so does this one.

    Attributes:
        code: Exit code of the other one.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Terminated(KeyboardInterrupt):
    """A signal other than SIGINT arrived outside the training loop; it is handled like Ctrl-C, with another exit code.

    Attributes:
        signum: The signal's number.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


SEEDS = (0, 2**63 - 1)
"""Range of seeds: what torch, numpy and Python take alike."""


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside of its range.

    Args:
        name: Of the number, for the message.
        value: The number.
        low, high: Ends of the range, both included; an infinite one is no limit.

    Raises:
        StkdError: It is outside, or NaN.

    Example:
        >>> check_range("epochs", 0, 1, 1000)
        Traceback (most recent call last):
        stkd.core.errors.StkdError: epochs must be at least 1, got 0
    """
    if not low <= value <= high:
        limit = f"at most {_shown(high)}" if value > high else f"at least {_shown(low)}"
        raise StkdError(f"{name} must be {limit}, got {_shown(value)}")


def _shown(number: float) -> str:
    if isinstance(number, int) and abs(number) >= 10**40:  # Python refuses to print those of more than 4,300 digits
        return "a number of more than 40 digits"
    return f"{number:,}" if abs(number) >= 10_000 and isinstance(number, int) else f"{number}"


def unknown(kind: str, name: str, names: Iterable[str]) -> UnknownName:
    """An error for a name that does not exist, with the nearest ones that do.

    Args:
        kind: What the name stands for, in words ("method", "model").
        name: What was asked for.
        names: Every name that exists.
    """
    known = sorted(names)
    lower = {n.lower(): n for n in known}
    # nothing is near a name of thousands of letters, and looking for it takes long
    asked = name.lower() if len(name) <= _LONGEST else ""
    near = [lower[n] for n in difflib.get_close_matches(asked, lower, n=3, cutoff=0.5)]
    hint = (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"known: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}"
    )
    return UnknownName(f"unknown {kind} {name!r}; {hint}")


_LONGEST = 200  # letters of a name
