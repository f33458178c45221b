"""Signals as a wish to stop that the loop grants between two steps."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType

from ..core.signals import stopping

__all__ = ["StopSignals"]


_REPEATED = 10.0
"""Seconds in which launchers send a signal again."""


class StopSignals:
    """Notes signals that ask to stop while it is entered; a second one acts at once.

    Args:
        several: There are other processes, which stop at the same step: a second one acts only some time later.
    """

    def __init__(self, *, several: bool = False) -> None:
        self.received: int | None = None
        self._several, self._first = several, 0.0
        self._before: dict[int, object] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # only there can handlers be set
            for number in stopping():
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, signum: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self._first = signum, now
            if not self._several:
                self._restore()
        elif now - self._first > _REPEATED:
            self._restore()
            signal.raise_signal(signum)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()
