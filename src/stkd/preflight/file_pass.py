"""A pass over image files that can be stopped and gone on with: what was seen is kept in the cache folder."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from ..core.errors import StkdError
from ..data.decode import open_image
from ..data.decoded_cache import cache_folder
from ..data.members import Member

__all__ = ["FilesSeen", "pass_over"]

_log = logging.getLogger(__name__)

_FIRST, _CHUNK = 128, 512
"""Files that are timed to estimate the rest, and files between two writes of what was seen."""

_SIDE = 256
"""Shorter side in pixels to which a large JPEG may be decoded; all of the file is read and decoded even so."""

_TABLE = """
create table if not exists files (
    root text, name text, size integer, mtime_ns integer, problem text, exact blob, look blob,
    primary key (root, name)
) without rowid
"""

Described = tuple[int, int]


@dataclass
class FilesSeen:
    """What a pass saw.

    Attributes:
        described: What files look like, by name.
        broken: Why files cannot be decoded, by name.
        left: Files that were not looked at.
        seconds_left: How long that would take.
    """

    described: dict[str, Described] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    left: int = 0
    seconds_left: float = 0.0


def pass_over(
    root: Path,
    files: Mapping[str, Path | Member],
    describe: Callable[[NDArray[np.uint8]], Described],
    seconds: float | None,
) -> FilesSeen:
    """Decode files that were not seen before, or were changed since.

    Args:
        root: Folder of the data set.
        files: By their names in it.
        describe: What is to be kept of the pixels (C, H, W) of a file.
        seconds: Stop early if all would take longer; None never does.
    """
    seen = FilesSeen()
    with closing(_database()) as database:
        todo = []
        known = _known(database, root)
        for name, file in files.items():
            stamp = _stamp(file)
            if stamp is not None and name in known and known[name][0] == stamp:
                _take(seen, name, known[name][1])
            else:
                todo.append((name, stamp))
        began, done = time.monotonic(), 0
        while done < len(todo):
            chunk = todo[done : done + (_CHUNK if done else _FIRST)]
            for (name, stamp), result in zip(chunk, _look([files[name] for name, _ in chunk], describe), strict=True):
                _take(seen, name, result)
                if stamp is not None:
                    _keep(database, root, name, stamp, result)
            database.commit()
            done += len(chunk)
            rest = (len(todo) - done) * (time.monotonic() - began) / done
            if seconds is not None and time.monotonic() - began + rest > seconds:
                seen.left, seen.seconds_left = len(todo) - done, rest
                break
    return seen


Result = str | Described
"""Why a file is broken, or what it looks like."""


def _look(files: Sequence[Path | Member], describe: Callable[[NDArray[np.uint8]], Described]) -> Iterator[Result]:
    def one(file: Path | Member) -> Result:
        try:
            image = open_image(file)
            pixels = image.pixels(3, min(image.height, image.width) / _SIDE)
        except StkdError as error:
            return str(error)
        return describe(pixels.numpy())

    with ThreadPoolExecutor(cpu_count()) as pool:
        yield from pool.map(one, files)


def _take(seen: FilesSeen, name: str, result: Result) -> None:
    if isinstance(result, str):
        seen.broken[name] = result
    else:
        seen.described[name] = result


def _stamp(file: Path | Member) -> tuple[int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _database() -> sqlite3.Connection:
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(cache_folder() / "files.sqlite", timeout=60)
        database.execute(_TABLE)
    except (OSError, sqlite3.Error) as error:
        _log.warning("what is seen of the files is not kept (%s: %s); set STKD_CACHE", cache_folder(), error)
        database = sqlite3.connect(":memory:")
        database.execute(_TABLE)
    return database


def _known(database: sqlite3.Connection, root: Path) -> dict[str, tuple[tuple[int, int], Result]]:
    rows = database.execute(
        "select name, size, mtime_ns, problem, exact, look from files where root = ?", (str(root.resolve()),)
    )
    return {
        name: ((size, time_ns), problem if problem is not None else (_number(exact), _number(look)))
        for name, size, time_ns, problem, exact, look in rows
    }


def _keep(database: sqlite3.Connection, root: Path, name: str, stamp: tuple[int, int], result: Result) -> None:
    problem = result if isinstance(result, str) else None
    numbers = (None, None) if isinstance(result, str) else tuple(n.to_bytes(8, "little") for n in result)
    database.execute(
        "insert or replace into files values (?, ?, ?, ?, ?, ?, ?)",
        (str(root.resolve()), name, *stamp, problem, *numbers),
    )


def _number(blob: bytes) -> int:
    return int.from_bytes(blob, "little")
