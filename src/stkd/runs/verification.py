"""Whether all that lies in runs, caches of teachers and exports is, bit for bit, what was written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from ..core import manifest
from ..core.errors import StkdError
from ..core.manifest import MANIFEST
from ..core.records import read_record
from .transaction import UNFINISHED

__all__ = ["Found", "verify"]

Found = Literal["right", "damaged", "missing", "unchecked"]
"""What is found of a file; "unchecked" is one of an earlier version, which kept no digest."""

_RECORDS = ("evaluation.json", "comparison.json", "engines.json")
"""Files that end with a digest of themselves."""

_RUN = ("config.yaml", "*.json", "*.jsonl", "*.safetensors", "checkpoints/*.pt", "checkpoints/*.safetensors")
_CACHE = ("*.json", "*.safetensors", "epoch-*.npy")
"""What is read again of a run, and of a cache."""


def verify(path: Path) -> dict[Path, Found]:
    """Compare files with the digests that were kept when they were written; all are read.

    Args:
        path: A run, a cache of a teacher, a folder that holds such, or an export that lies in its run.

    Returns:
        What is found of each file.

    Raises:
        StkdError: It is none of these.
        OSError: A file cannot be read.
    """
    found: dict[Path, Found] = {}
    if path.is_dir():
        for part in (_listed(path), _recorded(path), _lacking(path), _of_earlier_versions(path)):
            found = dict(part) | found
    found = found or dict(_exported(path))
    if not found:
        raise StkdError(f"{path} is no run, no cache of a teacher and no export in its run; give one of them")
    return dict(sorted(found.items()))


def _listed(path: Path) -> Iterator[tuple[Path, Found]]:
    """The files that manifests name, at any depth."""
    for file in path.rglob(MANIFEST):
        try:
            states = manifest.states(file.parent) or {}
        except StkdError:
            yield file, "damaged"
        else:
            yield from ((file.parent / name, state) for name, state in states.items())


def _recorded(path: Path) -> Iterator[tuple[Path, Found]]:
    """Those that hold a digest of themselves."""
    for name in _RECORDS:
        for file in path.rglob(name):
            try:
                read_record(file, needed=True)
            except ValueError:
                yield file, "unchecked" if _content(file) else "damaged"
            else:
                yield file, "right"


def _lacking(path: Path) -> Iterator[tuple[Path, Found]]:
    """Those that are named by others and are not there."""
    for file in (file for file in path.rglob("result.json") if file.parent.name not in UNFINISHED):
        named = _content(file).get("weights")
        yield from _absent(file.parent, named if isinstance(named, dict) else ())
    for file in path.rglob("header.json"):
        epochs = _content(file).get("epochs")
        shards = range(epochs) if isinstance(epochs, int) and any(file.parent.glob("epoch-*.npy")) else ()
        yield from _absent(file.parent, [f"epoch-{epoch:05d}.npy" for epoch in shards])


def _absent(folder: Path, names: Iterable[str]) -> Iterator[tuple[Path, Found]]:
    return ((folder / name, "missing") for name in names if not (folder / name).is_file())


def _of_earlier_versions(path: Path) -> Iterator[tuple[Path, Found]]:
    """All that is read again of runs and caches; they are known by two files, since others use the names of one too."""
    for name, beside, patterns in (("config.yaml", "checkpoints", _RUN), ("header.json", "epoch-*.npy", _CACHE)):
        folders = [file.parent for file in path.rglob(name) if any(file.parent.glob(beside))]
        files = (file for folder in folders for pattern in patterns for file in folder.glob(pattern))
        yield from ((file, "unchecked") for file in files if file.name != MANIFEST)


def _exported(path: Path) -> Iterator[tuple[Path, Found]]:
    """The files of an export."""
    for name, state in (manifest.states(path.parent) or {}).items():
        file = path.parent / name
        if path in (file, *file.parents) or file == path.with_suffix(".bin"):  # OpenVINO's weights lie beside its graph
            yield file, state


def _content(file: Path) -> dict[str, Any]:
    """What a record holds; nothing where it is damaged."""
    try:
        return read_record(file)
    except ValueError:
        return {}
