"""What a machine does to commands: disks that fail, memory that is not there, signals, processes that are killed."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from stkd.cli.main import console
from stkd.core.signals import STOPPING


@dataclass
class Disk:
    """A disk below a folder, which fails from one of its operations on.

    Attributes:
        folder: Whatever happens elsewhere is let alone.
        operation: What fails: "read" (opening a file to read it), "open", "write", "fsync" or "replace".
        number: How many of these go well first.
        error: The errno of what fails.
        done: How often each operation was asked for.
    """

    folder: Path
    operation: str = ""
    number: int = 0
    error: int = 0
    done: dict[str, int] = field(default_factory=dict)

    def asked(self, operation: str, path: Any) -> None:
        """Count an operation, or fail."""
        if not isinstance(path, str | os.PathLike) or not Path(os.path.abspath(path)).is_relative_to(self.folder):
            return
        before = self.done.get(operation, 0)
        self.done[operation] = before + 1
        if operation == self.operation and before >= self.number:
            raise OSError(self.error, os.strerror(self.error), str(path))


FailingDisk = Callable[..., AbstractContextManager[Disk]]


@pytest.fixture
def failing_disk(monkeypatch: pytest.MonkeyPatch) -> FailingDisk:
    """While `failing_disk(folder, operation, number, error)` lasts, files below the folder are on a `Disk`."""

    @contextmanager
    def fail(folder: Path, operation: str = "", number: int = 0, error: int = 0) -> Iterator[Disk]:
        disk, names = Disk(folder.absolute(), operation, number, error), dict[int, Any]()
        opened, synced, replaced, renamed = io.open, os.fsync, os.replace, os.rename

        class Written(io.FileIO):
            def write(self, content: Any) -> int:
                disk.asked("write", self.name)
                return super().write(content)

        def open_(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
            new = set(mode) & set("wxa+")
            disk.asked("open" if new else "read", file)
            if isinstance(file, str | os.PathLike) and new and "b" in mode and "+" not in mode:
                raw = Written(file, mode.replace("b", ""))
                names[raw.fileno()] = file
                return io.BufferedWriter(raw)
            return opened(file, mode, *args, **options)

        def fsync(file: int) -> None:
            disk.asked("fsync", names.get(file))
            synced(file)

        def moved(move: Any) -> Any:
            def asked(source: Any, target: Any, **options: Any) -> None:
                disk.asked("replace", target)
                move(source, target, **options)

            return asked

        with monkeypatch.context() as patch:
            for name in ("io.open", "builtins.open"):
                patch.setattr(name, open_)
            patch.setattr("os.fsync", fsync)
            patch.setattr("os.replace", moved(replaced))
            patch.setattr("os.rename", moved(renamed))
            yield disk

    return fail


@pytest.fixture
def console_(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Any]]:
    """The installed command in this process, with its signal handlers: `console_("train", ...)` = code, out, err."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    for number in STOPPING:  # the tests may run under nohup, or in the background of a script
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    monkeypatch.setattr("stkd.cli.main.hide_warnings_of_libraries", lambda: None)

    def call(*words: object) -> tuple[Any, str, str]:
        monkeypatch.setattr(sys, "argv", ["stkd", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            console()
        return (end.value.code, *capsys.readouterr())

    yield call
    for number, handler in before.items():
        signal.signal(number, handler)
