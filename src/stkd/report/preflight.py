"""What was found before the training began."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .tables import Cell, Table

__all__ = ["preflight"]


def preflight(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Values of the section, from what preflight.json of a run holds; None if nothing was checked."""
    if record is None:
        return None
    rows = [
        [Cell(f["check"]), Cell(f["level"]), Cell(str(f["message"]), wraps=True)] for f in record.get("findings", [])
    ]
    caption = "Checked before the training; preflight.json lists all names." if rows else "Nothing was found amiss."
    return {"tables": [Table(caption, ["check", "level", "finding"], rows)] if rows else [], "text": caption}
