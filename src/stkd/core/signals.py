"""The signals that ask a process to stop."""

from __future__ import annotations

import signal

__all__ = ["STOPPING", "stopping"]

STOPPING = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")  # schedulers send the last two before a limit
    if hasattr(signal, name)
)
"""Those that this system has; Windows has the first two."""


def stopping() -> list[signal.Signals]:
    """Those that this process does not ignore, as it does under `nohup` or in the background of a script."""
    return [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]
