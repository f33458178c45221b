"""The manifest of a folder: in manifest.json a digest of each of its files that is read again.

No rename replaces a file and its digest together. So the digest of what is about to stand in a file is entered first,
beside that of what stands there: whenever a process is killed, the file holds one of the two. One process at a time
writes to such a folder. Files that are not named, as those of earlier versions, are not checked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO, Literal

from .errors import StkdError
from .files import atomic_file, digest_file, link_atomic
from .records import parse_record, write_record

__all__ = [
    "MANIFEST",
    "Damaged",
    "State",
    "announce",
    "check",
    "link",
    "read",
    "states",
    "unused",
    "write",
    "writing",
]

MANIFEST = "manifest.json"

State = Literal["right", "damaged", "missing"]

_Digests = list[str | None]
"""What a file may hold, the newest first; None where it may be absent."""


class Damaged(StkdError):
    """A file does not hold what was written to it."""


def write(path: Path, content: bytes | str) -> None:
    """Write a file whole, or leave what stood there, and enter it in the manifest of its folder.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    with writing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """As `write`, of a file that is written piece by piece."""
    digest = ""

    def ready(whole: Path) -> None:
        nonlocal digest
        digest = digest_file(whole)
        announce(path.parent, {path.name: digest})

    with atomic_file(path, ready) as file:
        yield file
    _written[path] = _stamp(path), digest


_written: dict[Path, tuple[tuple[int, int, int], str]] = {}
"""Digests of the files that this process has written, which it need not read to know while they are the same files."""


def _stamp(path: Path) -> tuple[int, int, int]:
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _digest(path: Path) -> str:
    stamp, digest = _written.get(path, (None, ""))
    return digest if stamp == _stamp(path) else digest_file(path)


def link(source: Path, path: Path) -> None:
    """Give a file a second name, or copy it, in place of what stands there; both lie in one folder.

    Raises:
        OSError: The disk is full or the folder cannot be written.
    """
    digest = _digest(source)
    announce(path.parent, {path.name: digest})
    link_atomic(source, path)
    _written[path] = _stamp(path), digest


def announce(folder: Path, coming: Mapping[str, str | None]) -> None:
    """Enter what is about to stand in files of a folder, beside what stands there now.

    Args:
        folder: The folder.
        coming: Digests by name, relative to the folder; None for a file that is about to be deleted.

    Raises:
        OSError: The manifest cannot be written.
        StkdError: It is damaged.
    """
    before = _read(folder) or {}
    entries = {name: kept for name, digests in before.items() if (kept := _settled(folder / name, digests))}
    for name, digest in coming.items():
        standing = _standing(folder / name, before.get(name))
        entries[name] = list(dict.fromkeys([digest, *standing]))
    write_record(folder / MANIFEST, {"stkd": 1, "files": entries})


def _settled(path: Path, digests: _Digests) -> _Digests:
    """Digests of a file that was announced earlier, now that it is there, or gone for good."""
    return [digest for digest in digests if digest is not None] if path.exists() or None not in digests else []


def _standing(path: Path, known: _Digests | None) -> _Digests:
    if not path.exists():
        return [None]
    digest = _digest(path)
    return [digest] if known is None or digest in known else []  # what was damaged does not become right


def read(path: Path) -> bytes:
    """The content of a file, checked.

    Raises:
        OSError: It cannot be read.
        Damaged: It is not what was written.
        StkdError: The manifest is damaged.
    """
    content = path.read_bytes()
    _compare(path, path.parent, blake2b(content, digest_size=16).hexdigest)
    return content


def check(path: Path, folder: Path | None = None) -> None:
    """See that a file holds what was written to it.

    Args:
        path: The file.
        folder: Where the manifest lies; None for the file's own folder.

    Raises:
        OSError: It cannot be read.
        Damaged: It is not what was written.
        StkdError: The manifest is damaged.
    """
    _compare(path, folder or path.parent, lambda: digest_file(path))


def _compare(path: Path, folder: Path, digest: Callable[[], str]) -> None:
    known = (_read(folder) or {}).get(path.relative_to(folder).as_posix())
    if known is not None and digest() not in known:
        raise Damaged(
            f"{path} is damaged or was changed, it is not what was written there; put back a copy of it, or delete "
            f"{MANIFEST} beside it to have it taken as it is"
        )


def states(folder: Path) -> dict[str, State] | None:
    """The state of each file that a folder's manifest names; None where there is no manifest.

    Raises:
        OSError: A file cannot be read.
        StkdError: The manifest is damaged.
    """
    known = _read(folder)
    return None if known is None else {n: s for n in sorted(known) if (s := _state(folder / n, known[n])) is not None}


def _state(path: Path, digests: _Digests) -> State | None:
    if not path.exists():
        return None if None in digests else "missing"
    return "right" if digest_file(path) in digests else "damaged"


def unused(folder: Path) -> bool:
    """Whether nothing lies in a folder, but for hidden files and a manifest that was begun."""
    return not folder.is_dir() or all(path.name.startswith(".") or path.name == MANIFEST for path in folder.iterdir())


def _read(folder: Path) -> dict[str, _Digests] | None:
    """The entries of a manifest; None where there is none of ours."""
    file = folder / MANIFEST
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        record = parse_record(content, needed=True)
        if record["stkd"] != 1:
            raise ValueError
    except (ValueError, KeyError):
        if _of_others(content):
            return None
        raise StkdError(
            f"{file} is damaged, so that the files beside it cannot be checked; put back a copy of it, or delete it to "
            "have them taken as they are"
        ) from None
    entries: dict[str, _Digests] = record["files"]
    return entries


def _of_others(content: bytes) -> bool:
    """Whether a file of this name is nobody's of stkd; one of ours may have a flipped bit in a key."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return not isinstance(said, dict) or len(said.keys() & {"stkd", "files", "digest"}) < 2
