"""The evaluation that is kept in a run's directory, so that its page can show what takes long to measure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from ..core.errors import StkdError
from ..core.files import write_atomic
from ..models.files import find_weights

__all__ = ["keep_evaluation", "kept_evaluation"]

_FILE = "evaluation.json"
_SCHEMA = 1
_ON_REQUEST = ("robustness", "ood")


def keep_evaluation(run: Path, found: Mapping[str, Any]) -> Path:
    """Write what was found on a run's own test images into its directory.

    What is measured on request alone stays from an earlier evaluation of the same weights.

    Args:
        run: Run directory.
        found: By `stkd.runs.inspection.evaluate_run`.

    Returns:
        The file.

    Raises:
        OSError: The directory cannot be written.
    """
    before = kept_evaluation(run) or {}
    rest = {part: before[part] for part in _ON_REQUEST if part in before}
    file = run / _FILE
    write_atomic(file, json.dumps({"schema": _SCHEMA, "weights": _digest(run), **rest, **found}))
    return file


def kept_evaluation(run: Path) -> dict[str, Any] | None:
    """What was kept of a run.

    Returns:
        None where nothing was, or it is damaged or of other weights.
    """
    try:
        kept: dict[str, Any] = json.loads((run / _FILE).read_text(encoding="utf-8"))
        return kept if kept["schema"] == _SCHEMA and kept["weights"] == _digest(run) else None
    except (OSError, ValueError, KeyError, TypeError, StkdError):
        return None


def _digest(run: Path) -> str:
    """Of the weights, since the directory may have been copied."""
    with find_weights(run).open("rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()
