"""Messages of the library on the terminal: one plain line each, on standard error."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.processes import process_rank

__all__ = ["hide_warnings_of_libraries", "messages_shown"]

_WORDS = {logging.INFO: "note", logging.WARNING: "warning", logging.ERROR: "error"}


class _Lines(logging.Handler):
    """Writes a record as a line such as `stkd: warning: ...`; of several processes of a run, the first writes.

    It asks for `sys.stderr` at each record: while rich shows a progress bar, that is a stream which puts lines above
    the bar.
    """

    def emit(self, record: logging.LogRecord) -> None:
        if process_rank() > 0:
            return
        try:
            message = " ".join(record.getMessage().split())
            sys.stderr.write(f"stkd: {_WORDS.get(record.levelno, record.levelname.lower())}: {message}\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


@contextmanager
def messages_shown() -> Iterator[None]:
    """While this lasts, messages of the logger "stkd" from INFO up are lines on standard error, and nothing else."""
    logger = logging.getLogger("stkd")
    handler = _Lines()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False  # some libraries give the root logger a handler of its own
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def hide_warnings_of_libraries() -> None:
    """From now on Python's warnings are dropped where they come from other packages; ours are log messages."""
    warnings.showwarning = _show_ours  # type: ignore[assignment]


def _show_ours(message: Warning | str, category: type[Warning], filename: str, *_: object) -> None:
    if Path(filename).is_relative_to(Path(__file__).parents[1]):
        logging.getLogger(__name__).warning("%s", message)
