"""Messages of the library: silent in a program that does not ask for them, one line each on the command line."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import warnings
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from stkd.cli.messages import hide_warnings_of_libraries, messages_shown

log = logging.getLogger("stkd.anything")


def test_one_plain_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    with messages_shown():
        log.debug("for developers")
        log.info("teacher %s in int8", "[green]apple[/green]")
        log.warning("two\nlines")
        log.error("a student failed")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "stkd: note: teacher [green]apple[/green] in int8",
        "stkd: warning: two lines",
        "stkd: error: a student failed",
    ]


def test_a_second_command_does_not_say_everything_twice(stkd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def speak(what: str) -> list[dict[str, str]]:
        log.warning("said of %s", what)
        return [{"name": what}]

    monkeypatch.setattr("stkd.cli.catalogue.catalogue", speak)
    monkeypatch.setattr(logging.root, "handlers", [*logging.root.handlers, logging.StreamHandler()])  # as libraries do
    for _ in range(2):
        assert stkd("list", "models", "--json").err == "stkd: warning: said of models\n"


def test_logging_is_left_as_it_was() -> None:
    logger = logging.getLogger("stkd")
    before = logger.level, logger.propagate, list(logger.handlers)
    with pytest.raises(RuntimeError), messages_shown():
        raise RuntimeError
    assert (logger.level, logger.propagate, list(logger.handlers)) == before


def test_of_several_processes_the_first_speaks(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    torchrun = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in torchrun.items():
        monkeypatch.setenv(name, value)
    with messages_shown():
        log.warning("said by the first process")
    assert capsys.readouterr().err == ""


def test_a_message_does_not_tear_the_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    console = Console(stderr=True, force_terminal=True, width=80, force_interactive=True)
    with messages_shown(), Progress(console=console, auto_refresh=False) as progress:
        progress.add_task("training", total=10)
        progress.refresh()
        log.warning("the teacher is gone")
    before, _, after = terminal.getvalue().partition("stkd: warning: the teacher is gone")
    assert before.endswith("\x1b[2K"), "the bar was not erased before the line"
    assert after.startswith("\n")
    assert "training" in after, "the bar was not drawn again below the line"


SILENT = """
import logging, stkd
logging.getLogger("stkd.anything").warning("nobody asked")
assert logging.getLogger("stkd").level == logging.NOTSET
logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
logging.getLogger("stkd.anything").warning("the program asked")
"""


def test_a_program_configures_logging_as_usual() -> None:
    done = subprocess.run([sys.executable, "-c", SILENT], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stderr == "stkd.anything WARNING the program asked\n"


def test_warnings_of_libraries_are_hidden(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        hide_warnings_of_libraries()
        with messages_shown():
            warnings.warn("of a library", stacklevel=1)
            warnings.warn_explicit("of ours", UserWarning, hide_warnings_of_libraries.__code__.co_filename, 1)
    assert capsys.readouterr().err == "stkd: warning: of ours\n"
