"""Exported files of a run, exports/ in its directory, and what was measured about each, exports/FORMAT.json.

exports/manifest.json holds a digest of each file that lies there.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from ..core import manifest
from ..core.errors import StkdError
from ..core.files import digest_file
from ..core.manifest import MANIFEST, Damaged
from ..models.files import find_weights
from .model_card import show_exports

__all__ = ["exports_folder", "read_exports", "record_export", "recorded"]

_log = logging.getLogger(__name__)

_SHOWN = {"file", "bytes", "weights", "runtime", "agreement", "timing"}  # of a record, by card and page


def exports_folder(run: Path) -> Path:
    """Where the exported files of a run lie."""
    return run / "exports"


def record_export(run: Path, name: str, record: dict[str, Any]) -> None:
    """Show what was measured about an exported file in the model card, and keep it: then the export is done.

    Args:
        run: Run directory.
        name: Of the format.
        record: "to" (the format), "file" (its name), "bytes", "digest", "weights" (the digest of the run's), "runtime",
            "images" (the split that it was checked on), "data", "agreement", "timing" and "cpu", of files in integers
            also "accuracy", "sensitivity" and "training"; see docs/export.md.
    """
    others = [other for other in read_exports(run) if other.get("to") != name]
    try:
        show_exports(run, sorted([*others, record], key=lambda shown: str(shown.get("to"))))
    except (OSError, UnicodeDecodeError) as error:
        _log.warning("the model card does not show the export: %s", error)
    manifest.write(exports_folder(run) / f"{name}.json", json.dumps(record, indent=1))  # last: now it is done


def recorded(run: Path, name: str) -> tuple[str, str] | None:
    """The name and the digest of the exported file of a format, as its record has them; None where there is none."""
    try:
        record = json.loads(manifest.read(exports_folder(run) / f"{name}.json"))
        return record["file"], record["digest"]
    except (OSError, ValueError, LookupError, TypeError, Damaged):
        return None


def read_exports(run: Path) -> list[dict[str, Any]]:
    """What was measured about the exported files of a run, by format; none of other weights than the run's own."""
    records = []
    for file in sorted(exports_folder(run).glob("*.json")):
        if file.name == MANIFEST:
            continue
        try:
            record = json.loads(manifest.read(file))
            if not isinstance(record, dict) or not record.keys() >= _SHOWN:
                raise ValueError
        except (OSError, ValueError, Damaged):
            _log.warning("%s is damaged; export the run again", file)
            continue
        records.append(record)
    try:
        weights = digest_file(find_weights(run)) if records else None
    except (OSError, StkdError):
        return []
    return [record for record in records if record["weights"] == weights]
