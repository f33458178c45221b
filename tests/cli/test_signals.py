"""Signals to a process outside the training loop: one line, and 128 plus the signal's number as exit code.

All signals, in this process and in more places, are tried in accidents/test_stopped.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stkd.core.errors import Terminated

FIT = ["--data", "numerals", "--model", "linear", "--epochs", "1", "--accelerator", "cpu", "--compile", "none"]
PLUGIN = """
import os, signal
from dataclasses import replace

from torch import nn

from stkd.data import open_data, sources
from stkd.models.registry import register


def stop(stage):
    if os.environ.get("STAGE") == stage:
        signal.raise_signal(int(os.environ["SIGNAL"]))


class Linear(nn.Sequential):
    def forward(self, images):
        if not self.training:
            stop("evaluating")
        return super().forward(images)


@sources.register("numerals", "digits under another name")
def numerals(path, request):
    stop("data")
    return replace(open_data("digits"), name="numerals")


@register("linear", "one layer")
def linear(*, num_classes, in_channels):
    return Linear(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * in_channels, num_classes))
"""


def command(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "stkd", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, **environment},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    return tmp_path


@pytest.mark.services
@pytest.mark.parametrize(
    ("stage", "signum", "code"),
    [
        ("torch", 15, 143),
        ("data", 15, 143),
        ("evaluating", 15, 143),
        ("torch", 2, 130),
    ],
)
def test_one_line_and_the_code_of_the_signal(stage: str, signum: int, code: int, folder: Path) -> None:
    words, environment = ["train", *FIT, "--plugin", "plugin.py", "--out", "run"], {}
    if stage == "torch":
        (folder / "early").mkdir()
        (folder / "early" / "torch.py").write_text(f"import signal; signal.raise_signal({signum})")
        environment["PYTHONPATH"] = os.pathsep.join([str(folder / "early"), os.environ.get("PYTHONPATH", "")])
    if stage == "evaluating":
        made = command(folder, *words)
        assert made.returncode == 0, made.stderr
        words = ["evaluate", "run", "--plugin", "plugin.py"]
    stopped = command(folder, *words, STAGE=stage, SIGNAL=str(signum), **environment)
    assert stopped.returncode == code, stopped.stderr
    assert stopped.stderr == "stkd: stopped; run the same command again to go on\n"
    assert stopped.stdout == ""


@pytest.mark.usefixtures("gradio")
@pytest.mark.parametrize(("stop", "code"), [(Terminated(15), 143), (KeyboardInterrupt(), 130)], ids=["TERM", "INT"])
def test_explore_closes_its_page(
    stop: KeyboardInterrupt, code: int, student_run: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = []

    def wait(self: threading.Event, timeout: float | None = None) -> bool:
        raise stop

    page = SimpleNamespace(close=lambda verbose: closed.append(page))
    with monkeypatch.context() as patch:

        def serve(*_: object) -> tuple[SimpleNamespace, str]:
            patch.setattr(threading.Event, "wait", wait)  # only now: threads that are started before wait too
            return page, "http://127.0.0.1:7860/"

        patch.setattr("stkd.serve.page.serve", serve)
        answer = stkd("explore", student_run)
    assert answer.code == code
    assert closed == [page]
    assert answer.err == "stkd: stopped; run the same command again to go on\n"
