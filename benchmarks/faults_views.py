"""What folders hold, to be compared: runs, caches, studies and pages, however often they were interrupted."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch

__all__ = ["differences", "stop_clocks", "view"]

_OWN = {"manifest.json", "previous.pt", "env.json"}
"""Files that say how often a run was interrupted; `stkd verify` checks them."""

_TIMES = {"seconds", "images_per_s"}

_STUDY = """
select t.number, t.state, p.param_name, p.param_value, v.value
from trials t left join trial_params p using (trial_id) left join trial_values v using (trial_id)
order by t.number, p.param_name
"""


def view(folder: Path) -> dict[str, Any]:
    """Everything below a folder, by name: the content of files, "" for folders."""
    return {path.relative_to(folder).as_posix(): _content(path) for path in sorted(folder.rglob("*"))}


def _content(path: Path) -> Any:
    if path.is_dir() or path.name in _OWN:
        return ""
    if path.name == "study.db":
        with closing(sqlite3.connect(path)) as database:
            return database.execute(_STUDY).fetchall()
    if path.suffix == ".pt":
        return _plain(torch.load(path, weights_only=True))
    if path.name == "metrics.jsonl":
        return _plain([json.loads(line) for line in path.read_text().splitlines()])
    return blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _plain(value: Any) -> Any:
    """A checkpoint or metrics, to be compared."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items() if key not in _TIMES}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value.numpy().tobytes() if isinstance(value, torch.Tensor) else value


def differences(found: dict[str, Any], right: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Names of what lies there without belonging there or is missing, and of what has another content."""
    changed = [name for name in found.keys() & right.keys() if found[name] != right[name]]
    return sorted(found.keys() ^ right.keys()), sorted(changed)


class _Time(float):
    def __sub__(self, other: float) -> float:
        return 1.0

    def __rsub__(self, other: float) -> float:
        return 1.0


def stop_clocks() -> None:
    """Have every span of time in this process be a second, so that nothing which is written depends on it."""
    time.monotonic = time.perf_counter = _Time  # type: ignore[assignment,misc]
