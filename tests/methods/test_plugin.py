"""A method of one's own, from outside the package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "methods" / "extending.md"
PLUGIN = PAGE.read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
"""The example of the documentation."""


pytestmark = pytest.mark.usefixtures("forget")


def test_new_method_in_less_than_twenty_lines(teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    assert 0 < len(PLUGIN.splitlines()) < 20
    file = tmp_path / "mine.py"
    file.write_text(PLUGIN)
    command = ["distill", "--data", "digits", "--teacher-weights", teacher_run, "--student", "cnn2", "--epochs", "2"]
    command += ["--train-images", "128", "--precision", "32", "--accelerator", "cpu", "--plugin", file]
    answer = stkd(*command, "--method", "logits:weight=0.01", "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert {"train_mse", "train_ce"} <= set(rows[0])
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["method_options"] == {"weight": 0.01}

    together = stkd(*command, "--method", "logits+stkd", "--mix", "cutmix", "--out", tmp_path / "together")
    assert together.code == 0, together.err

    wrong = stkd(*command, "--method", "logits:weight=-1", "--out", tmp_path / "wrong")
    assert wrong.code == 2
    assert "weight must be zero or a positive number" in wrong.err
    assert not (tmp_path / "wrong").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("import no_such_package_of_mine", "failed: ModuleNotFoundError: No module named 'no_such_package_of_mine'"),
        ("def f(:", "failed: SyntaxError: invalid syntax"),
        ("raise ValueError('first\\nsecond')", "failed: ValueError: first second"),
        ("from stkd.methods import methods\nmethods.register('kd', 'again')(object)", "'kd' is registered twice"),
        (None, "is not a Python file; give a .py file that registers something"),
    ],
    ids=["import", "syntax", "exception", "taken", "missing"],
)
def test_broken_plugin(content: str | None, words: str, teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    file = tmp_path / "broken.py"
    if content is not None:
        file.write_text(content)
    command = ["distill", "--data", "digits", "--teacher-weights", teacher_run, "--student", "cnn2"]
    answer = stkd(*command, "--plugin", file, "--method", "logits", "--out", tmp_path / "run")
    assert answer.code == 2
    assert words in answer.err
    assert answer.err.startswith("stkd: error: ")
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
