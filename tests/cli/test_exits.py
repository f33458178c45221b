"""How commands end: the exit code of each kind of end, and one line, said by one process."""

from __future__ import annotations

import errno
import signal
from typing import Any

import pytest

from stkd.core import processes
from stkd.core.errors import Ended, Interrupted, StkdError, Terminated

TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
ENDS: dict[str, tuple[BaseException, int, str]] = {
    "bad-input": (StkdError("no such thing"), 2, "error: no such thing"),
    "full-disk": (OSError(errno.ENOSPC, "No space left on device", "a.pt"), 2, "error: the disk is full (a.pt); free"),
    "file": (OSError(errno.EACCES, "Permission denied", "a.pt"), 2, "error: Permission denied (a.pt)"),
    "memory": (MemoryError(), 2, "error: this machine has no memory left; take"),
    "decoder": (RuntimeError("DataLoader worker (pid(s) 9) exited unexpectedly"), 2, "error: a process that decodes"),
    "sys.exit": (SystemExit(0), 2, "error: a plug-in or a library called sys.exit(0) before list was done"),
    "training": (Interrupted(signal.SIGTERM, "stopped at epoch 3"), 143, "stopped at epoch 3"),
    "another": (Ended(130, "stopped with rank 1"), 130, "stopped with rank 1"),
    "signal": (Terminated(10), 138, "stopped; run the same command again to go on"),
    "ctrl-c": (KeyboardInterrupt(), 130, "stopped; run the same command again to go on"),
}


@pytest.fixture(autouse=True)
def _a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_speaks", None)


@pytest.fixture
def ending(stkd: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A command that ends by an error."""

    def end(error: BaseException) -> Any:
        def fail(*_: object) -> None:
            raise error

        monkeypatch.setattr("stkd.cli.catalogue.catalogue", fail)
        return stkd("list", "models")

    return end


@pytest.mark.parametrize("name", ENDS)
def test_code_and_line(name: str, ending: Any) -> None:
    error, code, line = ENDS[name]
    answer = ending(error)
    assert answer.code == code
    assert answer.out == ""
    assert answer.err.startswith(f"stkd: {line}")
    assert answer.err.count("\n") == 1


@pytest.mark.parametrize("name", ENDS)
def test_of_several_processes_one_says_it(name: str, ending: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in TORCHRUN.items():
        monkeypatch.setenv(variable, value)
    error, code, line = ENDS[name]
    answer = ending(error)
    assert (answer.code, answer.err) == (code, "")
    processes.speak(True)
    answer = ending(error)
    who = "" if name == "another" else "rank 1: "  # that line names a rank itself
    assert answer.code == code
    assert answer.err.startswith(f"stkd: {who}{line}")


def test_what_is_a_fault_of_stkd_keeps_its_traceback(ending: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        ending(ZeroDivisionError("division by zero"))
    for variable, value in TORCHRUN.items():
        monkeypatch.setenv(variable, value)
    assert ending(ZeroDivisionError("division by zero")).code == 1  # another process says it
    processes.speak(True)
    with pytest.raises(ZeroDivisionError):
        ending(ZeroDivisionError("division by zero"))
    assert capsys.readouterr().err == "stkd: rank 1: ZeroDivisionError: division by zero\n"


def test_a_line_is_one_line_of_bounded_length(ending: Any) -> None:
    answer = ending(StkdError("two\nlines\x1b[31m \ud800" + "n" * 4000 + " the end"))
    assert answer.err.startswith("stkd: error: two lines\\x1b[31m \\ud800nnn")
    assert answer.err.endswith("nnn the end\n")
    assert " ... " in answer.err
    assert len(answer.err) < 1100


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    from stkd import __version__
    from stkd.cli.main import main

    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"stkd {__version__}\n"
