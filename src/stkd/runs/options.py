"""Options that a directory was started with, beside those of now."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import StkdError

__all__ = ["check_unchanged"]

# Options that change how fast or how safely a run goes, not what comes of it.
_FREE = {"out", "workers", "checkpoint_epochs", "checkpoint_minutes", "tensorboard"}


def check_unchanged(file: Path, now: Mapping[str, Any], *, else_give: str = "another --out") -> None:
    """Refuse options with which what lies in a directory was not made.

    Args:
        file: YAML file of the options that the directory was started with.
        now: Options of now, as YAML has them.
        else_give: What to give instead of the same options.

    Raises:
        StkdError: One differs, or the file cannot be read.
    """
    before = _read(file)
    # an option that the older version did not have yet cannot differ
    differing = [n for n in now if n in before and n not in _FREE and not _same(n, before, now)]
    if differing:
        name = differing[0]
        raise StkdError(
            f"{file.parent} was started with {name}={before[name]}, now {name}={now[name]}; "
            f"give the same options to go on, or {else_give}"
        )


def _read(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        found = None
    if not isinstance(found, dict):
        what = "damaged" if file.exists() else "missing"
        raise StkdError(f"{file} is {what}; give another --out, or delete {file.parent}")
    return found


def _same(name: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    if before[name] == now[name]:
        return True
    if name != "teacher_weights" or None in (before[name], now[name]) or "out" not in before:
        return False
    # where all was moved as a whole, the teacher is still at the same place beside it
    places = {os.path.relpath(options[name], options["out"]) for options in (before, now)}
    return len(places) == 1
