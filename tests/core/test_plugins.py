"""Runs whose models and data come from a plug-in: looked at with it, and never by executing it unasked."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stkd.core.errors import StkdError
from stkd.core.plugins import load_plugin

SOURCE = """
from dataclasses import replace

from torch import nn

from stkd.data import open_data, sources
from stkd.models.registry import register


@sources.register("numerals", "digits under another name")
def numerals(path, request):
    return replace(open_data("digits"), name="numerals")


@register("linear", "one layer")
def linear(*, num_classes, in_channels):
    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16 * in_channels, num_classes))
"""
SHORT = ("--epochs", "1", "--precision", "32", "--accelerator", "cpu")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(SOURCE)
    return file


@pytest.fixture
def run(plugin: Path, tmp_path: Path, stkd: Any, forget: Callable[[], None]) -> Path:
    """A student made with the plug-in's model, taught by one, on the plug-in's images; the plug-in is forgotten."""
    common = ["--data", "numerals", "--plugin", plugin, *SHORT]
    assert stkd("train", "--model", "linear", "--out", tmp_path / "teacher", *common).code == 0
    own = ["--student", "linear", "--teacher-weights", tmp_path / "teacher", "--out", tmp_path / "run"]
    made = stkd("distill", *own, *common)
    assert made.code == 0, made.err
    forget()
    return tmp_path / "run"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("L", (8, 8)).save(tmp_path / "image.png")
    return tmp_path / "image.png"


def executed() -> bool:
    return any(name.startswith("stkd_plugin_") for name in sys.modules)


@pytest.mark.parametrize("command", ["evaluate", "predict", "explore"])
def test_plugin_is_asked_for_and_not_executed_unasked(
    command: str, run: Path, image: Path, plugin: Path, stkd: Any, request: pytest.FixtureRequest
) -> None:
    if command == "explore":
        request.getfixturevalue("gradio")
    answer = stkd(command, run, *([image] if command == "predict" else []))
    assert answer.code == 2
    assert "unknown model 'linear'" in answer.err
    assert f"give --plugin {plugin}\n" in answer.err
    assert answer.err.count("\n") == 1
    assert not executed()


def test_with_the_plugin(run: Path, image: Path, plugin: Path, stkd: Any, forget: Callable[[], None]) -> None:
    found = stkd("evaluate", run, "--plugin", plugin, "--json")
    assert found.code == 0, found.err
    kept = json.loads((run / "result.json").read_text())
    assert json.loads(found.out)["top1"] == pytest.approx(kept["test"]["top1"])
    forget()
    found = stkd("predict", run, image, "--plugin", plugin, "--json")
    assert found.code == 0, found.err
    assert json.loads(found.out)[0].keys() == {"image", "student", "teacher"}


@pytest.mark.usefixtures("gradio")
def test_explore_with_the_plugin(run: Path, plugin: Path, stkd: Any) -> None:
    with socket.socket() as taken:  # the last thing to go wrong, after the run was opened
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        answer = stkd("explore", run, "--plugin", plugin, "--port", taken.getsockname()[1])
    assert "cannot be used" in answer.err


@pytest.mark.parametrize("name", ["a\0b.py", "n" * 300, "missing.py", "loop.py", "loop.py/x.py"], ids=ascii)
def test_paths_that_are_no_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "loop.py").symlink_to(tmp_path / "loop.py")
    with pytest.raises((StkdError, OSError), match=r"is not a Python file|too long"):
        load_plugin(tmp_path / name)


def test_end_of_the_program_in_a_plugin(tmp_path: Path, stkd: Any) -> None:
    (tmp_path / "early.py").write_text("import sys; sys.exit(0)")
    answer = stkd("check", "--data", "digits", "--plugin", tmp_path / "early.py")
    assert answer.code == 2
    assert answer.err == f"stkd: error: plugin {tmp_path / 'early.py'} failed: SystemExit: 0\n"


def test_end_of_the_program_in_a_data_set(tmp_path: Path, stkd: Any) -> None:
    source = "@sources.register('quits', 'ends')\ndef quits(path, request):\n    raise SystemExit(0)\n"
    (tmp_path / "late.py").write_text(f"from stkd.data import sources\n{source}")
    answer = stkd("check", "--data", "quits", "--plugin", tmp_path / "late.py")
    assert answer.code == 2
    assert answer.err == "stkd: error: a plug-in or a library called sys.exit(0) before check was done\n"


def test_page_without_and_with_the_plugin(run: Path, plugin: Path, stkd: Any) -> None:
    answer = stkd("report", run)
    assert answer.code == 0
    assert re.search(r"warning: the page shows no predictions: .*give --plugin .*mine\.py", answer.err)
    assert not executed()
    assert 'id="reliability"' not in (run / "report.html").read_text()
    assert stkd("report", run, "--plugin", plugin).code == 0
    assert 'id="reliability"' in (run / "report.html").read_text()


def test_data_set_of_a_plugin(plugin: Path, tmp_path: Path, stkd: Any, forget: Callable[[], None]) -> None:
    out = tmp_path / "alone"
    made = stkd("train", "--data", "numerals", "--model", "cnn2", "--plugin", plugin, "--out", out, *SHORT)
    assert made.code == 0, made.err
    forget()
    answer = stkd("evaluate", out)
    assert answer.code == 2
    assert "unknown data set 'numerals'" in answer.err
    assert f"give --plugin {plugin}\n" in answer.err
    assert not executed()
    assert stkd("evaluate", out, "--data", "digits", "--json").code == 0


def test_teacher_of_a_plugin(run: Path, plugin: Path, tmp_path: Path, stkd: Any) -> None:
    command = ["distill", "--data", "digits", "--teacher-weights", tmp_path / "teacher", "--student", "cnn2", *SHORT]
    answer = stkd(*command, "--out", tmp_path / "other")
    assert answer.code == 2
    assert f"give --plugin {plugin}\n" in answer.err
    assert not executed()
    assert stkd(*command, "--plugin", plugin, "--out", tmp_path / "other").code == 0
