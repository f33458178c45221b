"""A pass over image files that can be stopped and gone on with: what was seen is kept in the cache folder."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from ..data.decode import BrokenImage, open_image
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
    with closing(_Kept(root)) as kept:
        todo = []
        known = kept.known()
        for name, file in files.items():
            stamp = _stamp(file)
            if stamp is not None and name in known and known[name][0] == stamp:
                _take(seen, name, known[name][1])
            else:
                todo.append((name, stamp))
        began, done = time.monotonic(), 0
        while done < len(todo):
            chunk = todo[done : done + (_CHUNK if done else _FIRST)]
            looked = _look([files[name] for name, _ in chunk], describe)
            for (name, stamp), (result, lasting) in zip(chunk, looked, strict=True):
                _take(seen, name, result)
                if stamp is not None and lasting:
                    kept.add(name, stamp, result)
            kept.commit()
            done += len(chunk)
            rest = (len(todo) - done) * (time.monotonic() - began) / done
            if seconds is not None and time.monotonic() - began + rest > seconds:
                seen.left, seen.seconds_left = len(todo) - done, rest
                break
    return seen


Result = str | Described
"""Why a file is broken, or what it looks like."""


def _look(
    files: Sequence[Path | Member], describe: Callable[[NDArray[np.uint8]], Described]
) -> Iterator[tuple[Result, bool]]:
    """What is found of each file, and whether it lies in the file."""

    def one(file: Path | Member) -> tuple[Result, bool]:
        try:
            image = open_image(file)
            pixels = image.pixels(3, min(image.height, image.width) / _SIDE)
        except BrokenImage as error:
            return str(error), error.lasting
        return describe(pixels.numpy()), True

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


class _Kept:
    """What was seen of the files of a data set; where the database cannot be used, a warning says so, once.

    Args:
        root: Folder of the data set.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._file = str(root.resolve()), cache_folder() / "files.sqlite"
        self._database: sqlite3.Connection | None = None
        with self._may_fail():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(self._file, timeout=60)
            self._database.execute(_TABLE)

    def close(self) -> None:
        """Let go of the database."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def known(self) -> dict[str, tuple[tuple[int, int], Result]]:
        """Stamp and result of each file that was seen."""
        rows: list[Any] = []
        with self._may_fail():
            if self._database is not None:
                select = "select name, size, mtime_ns, problem, exact, look from files where root = ?"
                rows = self._database.execute(select, (self._root,)).fetchall()
        return {
            name: ((size, time_ns), problem if problem is not None else (_number(exact), _number(look)))
            for name, size, time_ns, problem, exact, look in rows
            if problem is not None or (isinstance(exact, bytes) and isinstance(look, bytes))
        }

    def add(self, name: str, stamp: tuple[int, int], result: Result) -> None:
        """Note what was seen of a file."""
        problem = result if isinstance(result, str) else None
        numbers = (None, None) if isinstance(result, str) else tuple(n.to_bytes(8, "little") for n in result)
        with self._may_fail():
            if self._database is not None:
                row = (self._root, name, *stamp, problem, *numbers)
                self._database.execute("insert or replace into files values (?, ?, ?, ?, ?, ?, ?)", row)

    def commit(self) -> None:
        """Have what was noted on the disk."""
        with self._may_fail():
            if self._database is not None:
                self._database.commit()

    @contextmanager
    def _may_fail(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.OperationalError) as error:
            _log.warning("what is seen of the files is not kept (%s: %s); set STKD_CACHE", self._file.parent, error)
            self.close()
        except sqlite3.DatabaseError:
            _log.warning(
                "%s is damaged; what was seen of the files is forgotten, and the next run keeps it", self._file
            )
            self.close()
            with suppress(OSError):
                self._file.unlink(missing_ok=True)


def _number(blob: bytes) -> int:
    return int.from_bytes(blob, "little")
