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

__all__ = ["exports_folder", "read_exports", "record_export"]

_log = logging.getLogger(__name__)

_SHOWN = {"file", "bytes", "weights", "runtime", "agreement", "timing"}  # of a record, by card and page


def exports_folder(run: Path) -> Path:
    """Where the exported files of a run lie."""
    return run / "exports"


def record_export(run: Path, name: str, record: dict[str, Any]) -> None:
    """Keep what was measured about an exported file, and show it in the model card.

    Args:
        run: Run directory.
        name: Of the format.
        record: "to" (the format), "file" (its name), "bytes", "digest", "weights" (the digest of the run's), "runtime",
            "images" (the split that it was checked on), "data", "agreement", "timing" and "cpu", of files in integers
            also "accuracy", "sensitivity" and "training"; see docs/export.md.
    """
    manifest.write(exports_folder(run) / f"{name}.json", json.dumps(record, indent=1))
    try:
        show_exports(run, read_exports(run))
    except (OSError, UnicodeDecodeError) as error:
        _log.warning("the model card does not show the export: %s", error)


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
