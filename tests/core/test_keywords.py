from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stkd.cli.main import _parser
from stkd.core.config import DistillConfig, TrainConfig, build, to_yaml
from stkd.core.errors import StkdError
from stkd.core.keywords import check_keywords, parse_keywords
from stkd.core.options import checked, config_from
from stkd.core.recipes import read_recipe


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", {"a": 1}),
        ("a=1,b=0.5,c=x", {"a": 1, "b": 0.5, "c": "x"}),
        ("a=1e-3,b=true,c=none,d=null,e=", {"a": 0.001, "b": True, "c": "none", "d": None, "e": None}),
        ("depths=[2,2,6],drop=0.1", {"depths": [2, 2, 6], "drop": 0.1}),
        ("url=C:\\x", {"url": "C:\\x"}),
        ("a==", {"a": "="}),
        ("a=1,b", {"a": "1,b"}),  # a comma belongs to the value where no KEY= follows
    ],
)
def test_text(text: str, expected: dict[str, Any]) -> None:
    assert parse_keywords(text) == expected


@pytest.mark.parametrize("text", ["", "a", "=1", "a b=1", "1a=2", "{a: 1}"])
def test_text_that_is_not_key_and_value(text: str) -> None:
    with pytest.raises(StkdError, match="is not KEY=VALUE"):
        parse_keywords(text)


@pytest.mark.parametrize("value", [3, [1], "a=1", {1: 2}, {"a b": 1}, {"a": object()}, {"a": {"b": 1}}])
def test_values_that_are_no_keywords(value: object) -> None:
    with pytest.raises(StkdError, match="options"):
        check_keywords("options", value)


def test_one_option_on_the_command_line_in_yaml_and_in_python(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("model_options: {drop_rate: 0.1, depths: [2, 2]}\n")
    command = ["train", "--data", "digits", "--model", "cnn2", "--out", "run"]
    options = {"drop_rate": 0.1, "depths": [2, 2]}

    def parsed(*words: str) -> TrainConfig:
        return config_from(TrainConfig, _parser().parse_args([*command, *words])["train"])

    by_flags = parsed("--model-options", "drop_rate=0.1", "--model-options=depths=[2,2]")
    by_recipe = parsed("--recipe", str(tmp_path / "r.yaml"))
    in_python = build(
        TrainConfig, checked(TrainConfig, {"data": "digits", "model": "cnn2", "out": "run", "model_options": options})
    )
    assert by_flags.model_options == options
    assert by_flags == by_recipe == in_python
    (tmp_path / "again.yaml").write_text(to_yaml(by_flags))
    assert build(TrainConfig, checked(TrainConfig, read_recipe(tmp_path / "again.yaml"))) == by_flags
    assert parsed().model_options is None


def test_teacher_and_student_have_their_own() -> None:
    command = "distill --data digits --teacher-weights t --student cnn2 --out run --teacher-options a=1"
    config = config_from(DistillConfig, _parser().parse_args([*command.split(), "--student-options", "b=x"])["distill"])
    assert (config.teacher_options, config.student_options) == ({"a": 1}, {"b": "x"})


def test_bad_option_is_one_line(stkd: Any, tmp_path: Path) -> None:
    answer = stkd("train", "--data", "digits", "--model", "cnn2", "--model-options", "width", "--out", tmp_path / "run")
    assert answer.code == 2
    assert answer.err == "stkd: error: 'width' is not KEY=VALUE; write for example drop_rate=0.1,global_pool=max\n"
