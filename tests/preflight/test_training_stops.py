"""A training looks before it starts: what it then does in each mode, and what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stkd.cli.commands.check import SUMMARY

PLAIN = ("--precision", "32", "--accelerator", "cpu")


@pytest.fixture
def rotated(teacher_run: Path, tmp_path: Path) -> Path:
    """The weights of a good teacher whose classifier rows are rotated by one."""
    state = load_file(teacher_run / "model.safetensors")
    rows = {name: value.roll(1, 0).clone() if value.shape[:1] == (10,) else value for name, value in state.items()}
    assert sum(not torch.equal(rows[name], state[name]) for name in state) == 2
    torch.save(rows, tmp_path / "rotated.pth")
    return tmp_path / "rotated.pth"


def test_errors_stop_and_nothing_is_trained(rotated: Path, tmp_path: Path, stkd: Callable) -> None:  # type: ignore[type-arg]
    command = ["distill", "--data", "digits", "--teacher", "cnn4", "--teacher-weights", rotated, "--student", "cnn2"]
    command += ["--epochs", 1, "--out", tmp_path / "run", *PLAIN]
    done = stkd(*command)
    assert done.code == 2
    assert "'0' is where '1' is expected" in done.err
    assert "--preflight off" in done.err
    assert not (tmp_path / "run" / "checkpoints" / "last.pt").exists()
    record = json.loads((tmp_path / "run" / "preflight.json").read_text())
    assert [f["check"] for f in record["findings"] if f["level"] == "error"] == ["class-order"]
    names = tmp_path / "run" / "teacher-classes.txt"
    assert names.read_text().split() == ["9", *"012345678"]
    assert stkd(*command, "--teacher-classes", names).code == 0  # the same directory: nothing was begun


def test_off_trains_all_the_same(rotated: Path, tmp_path: Path, stkd: Callable) -> None:  # type: ignore[type-arg]
    done = stkd("distill", "--data", "digits", "--teacher", "cnn4", "--teacher-weights", rotated, "--student", "cnn2",
                "--epochs", 1, "--out", tmp_path / "run", "--preflight", "off", *PLAIN)  # fmt: skip
    assert done.code == 0
    assert not (tmp_path / "run" / "preflight.json").exists()


def test_strict_stops_at_warnings(teacher_run: Path, tmp_path: Path, stkd: Callable) -> None:  # type: ignore[type-arg]
    command = ["distill", "--data", "digits", "--teacher-weights", teacher_run, "--student", "cnn2", "--epochs", 1]
    strict = stkd(*command, "--out", tmp_path / "a", "--preflight", "strict", *PLAIN)
    assert strict.code == 2
    assert "few for virtual samples" in strict.err
    warned = stkd(*command, "--out", tmp_path / "b", *PLAIN)
    assert warned.code == 0
    assert "stkd: warning: 1 epoch is few for" in warned.err


def test_check_prints_a_table_and_trains_nothing(
    teacher_run: Path, rotated: Path, tmp_path: Path, stkd: Callable
) -> None:  # type: ignore[type-arg]
    good = stkd("check", "--data", "digits", "--teacher-weights", teacher_run)
    assert good.code == 0
    assert "0 errors" in good.out
    bad = stkd("check", "--data", "digits", "--teacher", "cnn4", "--teacher-weights", rotated, "--save", tmp_path / "x")
    assert bad.code == 2
    assert "class-order" in bad.out
    assert "1 error," in bad.out
    assert (tmp_path / "x" / "preflight.json").exists()
    alone = stkd("check", "--data", "digits", "--json")
    assert alone.code == 0
    assert "teacher" not in json.loads(alone.out)["facts"]
    assert SUMMARY


def test_many_and_cache_look_too(rotated: Path, tmp_path: Path, stkd: Callable) -> None:  # type: ignore[type-arg]
    done = stkd("cache", "--data", "digits", "--teacher", "cnn4", "--teacher-weights", rotated, "--epochs", 1,
                "--out", tmp_path / "cache", *PLAIN)  # fmt: skip
    assert done.code == 2
    assert "in another order" in done.err


def test_card_and_page_say_what_was_found(teacher_run: Path, tmp_path: Path, stkd: Callable) -> None:  # type: ignore[type-arg]
    out = tmp_path / "run"
    done = stkd("distill", "--data", "digits", "--teacher-weights", teacher_run, "--student", "cnn2", "--epochs", 1,
                "--batch-size", 1, "--train-images", 40, "--out", out, *PLAIN)  # fmt: skip
    assert done.code == 0
    assert "- warning: with one image in a batch nothing is mixed" in (out / "README.md").read_text()
    assert stkd("report", out).code == 0
    assert "with one image in a batch nothing is mixed" in (out / "report.html").read_text()
