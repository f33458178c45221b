"""The preflight of a session, recorded and obeyed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ..core import manifest
from ..core.files import write_atomic
from ..preflight import Report, preflight, refuse
from .session import Session

__all__ = ["check_session", "save_report"]


def check_session(session: Session, folders: Sequence[Path], *, notes: bool = True) -> None:
    """Check what a session is about to use, write what was found into each folder, and stop if it is serious.

    Args:
        session: With its teacher and students, before their engines are chosen.
        folders: Run directories, or the folder of a cache.
        notes: Log notes too, not warnings alone.

    Raises:
        StkdError: There is an error, or in mode "strict" a warning.
    """
    mode, fabric = session.jobs[0].config.preflight, session.fabric
    if mode == "off":
        return
    own = preflight(session.subject, notes=notes) if fabric.is_global_zero else Report(())
    report = session.world.of_first(own)
    if fabric.is_global_zero:
        for folder in folders:
            save_report(report, folder, manifest.write)
    session.facts = report.facts
    refuse(report, mode, str(folders[0] / "preflight.json"))


def save_report(report: Report, folder: Path, write: Callable[[Path, str], None] = write_atomic) -> None:
    """Write preflight.json with `write`, and the files that help to mend what it says."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "preflight.json", json.dumps(report.record(), indent=1))
    for _, finding in report.findings:
        if finding.file is not None:
            name, text = finding.file
            write_atomic(folder / name, text)
