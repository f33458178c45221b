"""The preflight: every check, and what follows from what they find."""

from __future__ import annotations

import logging
import time
from typing import Literal

from ..core.errors import StkdError
from .finding import LEVELS, Finding, Report
from .subject import Subject, checks

__all__ = ["Mode", "check", "preflight", "refuse", "warn_once"]

_log = logging.getLogger(__name__)

Mode = Literal["off", "warn", "strict"]


def check(subject: Subject) -> Report:
    """Make every check.

    Raises:
        StkdError: An image or an option is such that a check cannot be made, and nothing found before says why.
    """
    began = time.monotonic()
    findings: list[tuple[str, Finding]] = []
    try:
        for entry in checks.entries():
            findings += ((entry.name, finding) for finding in entry.value(subject))
    except StkdError:  # such as a broken file of the sample
        if not any(finding.level == "error" for _, finding in findings):
            raise
    findings.sort(key=lambda found: LEVELS.index(found[1].level))
    return Report(findings, subject.facts, time.monotonic() - began)


def preflight(subject: Subject, *, notes: bool = True) -> Report:
    """Make every check and log what they find.

    Args:
        subject: What a training is about to use.
        notes: Log notes too. Without, as for one run of many, a warning that was logged before is not logged again.
    """
    report = check(subject)
    for finding in report.of("warning"):
        if notes:
            _said.discard(finding.message)
        warn_once(finding.message)
    for finding in report.of("note") if notes else ():
        _log.info("%s", finding.message)
    return report


def warn_once(message: str) -> None:
    """Log a warning, unless this process has logged it before: the runs of a comparison have theirs in common."""
    if message not in _said:
        _said.add(message)
        _log.warning("%s", message)


_said: set[str] = set()


def refuse(report: Report, mode: Mode, where: str) -> None:
    """Refuse to train on what a preflight found.

    Args:
        report: What it found.
        mode: "strict" refuses warnings too.
        where: Where all findings can be read.

    Raises:
        StkdError: There is such a finding.
    """
    found = report.of("error", "warning") if mode == "strict" else report.of("error")
    if found:
        others = f" ({len(found) - 1} more in {where})" if len(found) > 1 else ""
        raise StkdError(f"{found[0].message}{others}; --preflight off trains all the same")
