"""Points at which a process may end: before, in and after each operation by which Python code changes files.

Code that runs inside `watched` reaches these points in turn. What happens at a point is up to the caller: it counts
them, kills the process, or sends it a signal. Reading is no operation. SQLite writes by itself; its commits count.
"""

from __future__ import annotations

import builtins
import io
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

__all__ = ["OPERATIONS", "Point", "watched"]

_OF_OS = {
    "fsync": "fsync",
    "link": "link",
    "mkdir": "mkdir",
    "remove": "unlink",
    "rename": "replace",
    "replace": "replace",
    "rmdir": "unlink",
    "sendfile": "write",
    "unlink": "unlink",
}
"""Functions of os, and what they count as."""

OPERATIONS = ("open", "write", "fsync", "replace", "unlink", "link", "mkdir", "commit")


class Point(NamedTuple):
    """A point of a process.

    Attributes:
        operation: One of `OPERATIONS`.
        moment: "before", "in" (half of the bytes are written) or "after" it.
    """

    operation: str
    moment: str


Reach = Callable[[Point], object]


@contextmanager
def watched(folder: Path, reach: Reach) -> Iterator[None]:
    """A context in which what is done to files below a folder reaches points.

    Args:
        folder: The folder, an absolute path.
        reach: Called at each point, by the thread that reaches it.
    """
    inside = f"{folder}{os.sep}"

    def counts(path: Any, options: dict[str, Any]) -> bool:
        if isinstance(path, int) or any(options.get(name) is not None for name in ("dir_fd", "src_dir_fd")):
            return True  # of a file that was opened by its name before, or in a folder that was
        return f"{os.path.abspath(os.fsdecode(path))}{os.sep}".startswith(inside)

    with ExitStack() as patches:
        for name, operation in _OF_OS.items():
            if not hasattr(os, name):  # Windows has no sendfile
                continue
            function = _of_os(getattr(os, name), operation, counts, reach)
            patches.enter_context(mock.patch.object(os, name, function))
        patches.enter_context(mock.patch.object(os, "open", _os_open(os.open, counts, reach)))
        opened = _open(builtins.open, counts, reach)
        patches.enter_context(mock.patch.object(builtins, "open", opened))
        patches.enter_context(mock.patch.object(io, "open", opened))
        connected = _connect(sqlite3.connect, counts, reach)
        patches.enter_context(mock.patch.object(sqlite3, "connect", connected))
        patches.enter_context(mock.patch.object(sqlite3.dbapi2, "connect", connected))
        yield


def _of_os(real: Callable[..., Any], operation: str, counts: Callable[..., bool], reach: Reach) -> Callable[..., Any]:
    def call(path: Any, *args: Any, **options: Any) -> Any:
        if not counts(path, options):
            return real(path, *args, **options)
        reach(Point(operation, "before"))
        answer = real(path, *args, **options)
        reach(Point(operation, "after"))
        return answer

    return call


def _os_open(real: Callable[..., int], counts: Callable[..., bool], reach: Reach) -> Callable[..., int]:
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def call(path: Any, flags: int, *args: Any, **options: Any) -> int:
        if not (flags & writing and counts(path, options)):
            return real(path, flags, *args, **options)
        reach(Point("open", "before"))
        number = real(path, flags, *args, **options)
        reach(Point("open", "after"))
        return number

    return call


class _File(io.BufferedWriter):
    """A file whose content is on its way to the disk in two halves."""

    reach: Reach

    def write(self, content: Any) -> int:
        whole = memoryview(content).cast("B")
        self.reach(Point("write", "before"))
        super().write(whole[: len(whole) // 2])
        super().flush()
        self.reach(Point("write", "in"))
        super().write(whole[len(whole) // 2 :])
        super().flush()
        self.reach(Point("write", "after"))
        return len(whole)


def _open(real: Callable[..., Any], counts: Callable[..., bool], reach: Reach) -> Callable[..., Any]:
    def call(path: Any, mode: str = "r", buffering: int = -1, *args: Any, **options: Any) -> Any:
        if not set(mode) & set("wxa+") or isinstance(path, int) or not counts(path, options):
            return real(path, mode, buffering, *args, **options)
        reach(Point("open", "before"))
        if "+" in mode:
            file = real(path, mode, buffering, *args, **options)
        else:
            file = _File(io.FileIO(path, mode.replace("b", "").replace("t", "")))
            file.reach = reach
            if "b" not in mode:
                file = io.TextIOWrapper(file, *args, **options, write_through=True)
        reach(Point("open", "after"))
        return file

    return call


def _connect(real: Callable[..., Any], counts: Callable[..., bool], reach: Reach) -> Callable[..., Any]:
    class Connection(sqlite3.Connection):
        def commit(self) -> None:
            reach(Point("commit", "before"))
            super().commit()
            reach(Point("commit", "after"))

    def call(path: Any, *args: Any, **options: Any) -> Any:
        return real(path, *args, **({"factory": Connection} if counts(path, {}) else {}), **options)

    return call
