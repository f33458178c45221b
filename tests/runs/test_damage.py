"""One flipped bit, a cut or another kind of content in a file of a run: said in one line, and never another result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import stkd as package
from stkd.models.files import load_model
from stkd.runs.directory import read_environment, read_metrics, read_result
from stkd.runs.evaluation import current_evaluation, read_evaluation

SMALL = {"epochs": 3, "train_images": 96, "precision": "32", "accelerator": "cpu"}
SEEDS = range(10)


@pytest.mark.parametrize("seeds", [SEEDS, pytest.param(range(10, 200), marks=pytest.mark.slow)], ids=["some", "many"])
def test_a_flipped_bit_in_weights_is_refused(seeds: range, student_run: Path, flipped: Any, stkd: Any) -> None:
    weights = student_run / "student.safetensors"
    for seed in seeds:
        with flipped(weights, seed):
            for path in (weights, student_run):
                with pytest.raises(package.StkdError, match=r"student\.safetensors is damaged or was changed"):
                    load_model(path)
    with flipped(weights, 0):
        taught = ["distill", "--data", "digits", "--student", "cnn2", "--out", student_run.parent / "new"]
        for command in (
            ["evaluate", student_run],
            ["export", student_run, "--to", "onnx"],
            ["train", "--data", "digits", "--model", "cnn2", "--weights", weights, "--out", student_run.parent / "new"],
            [*taught, "--teacher-weights", student_run],
            [*taught, "--teacher-weights", weights],
        ):
            answer = stkd(*command)
            assert (answer.code, answer.err.count("\n")) == (2, 1), answer.err
            assert "student.safetensors is" in answer.err
    load_model(student_run)


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 12), marks=pytest.mark.slow)], ids=["some", "many"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    seeds: range, tmp_path: Path, flipped: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The resumed run ends as one that nothing happened to, bit for bit."""
    whole = package.train("cnn2", "digits", out=tmp_path / "whole", **SMALL)
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    for seed in seeds:
        shutil.copytree(whole.out, tmp_path / "run")
        for name in ("result.json", "model.safetensors"):
            (tmp_path / "run" / name).unlink()
        caplog.clear()
        with flipped(last, seed):
            run = package.train("cnn2", "digits", out=tmp_path / "run", **SMALL)
            assert run.fresh
            assert run.weights.read_bytes() == whole.weights.read_bytes()
            assert [line for line in caplog.messages if "is damaged" in line] == [
                f"checkpoint {last} is damaged; the run goes on from the one before it, of epoch 3, step 0"
            ]
        shutil.rmtree(tmp_path / "run")


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = package.train("cnn2", "digits", out=tmp_path / "whole", **SMALL)
    run = Path(shutil.copytree(whole.out, tmp_path / "run"))
    for name in ("manifest.json", "checkpoints/manifest.json", "checkpoints/previous.pt", "result.json"):
        (run / name).unlink()
    (run / "model.safetensors").unlink()
    caplog.clear()
    again = package.train("cnn2", "digits", out=run, **SMALL)
    assert again.weights.read_bytes() == whole.weights.read_bytes()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def resumed(run: Path, stkd: Any) -> Any:
    return stkd("distill", "--recipe", run / "config.yaml", "--out", run)


RECORDS = ("config.yaml", "env.json", "result.json", pytest.param("metrics.jsonl", marks=pytest.mark.slow))


@pytest.mark.parametrize(
    "texts",
    [
        ('{"x": 1}',),
        pytest.param(("", "[1]", "{}", '"a"', "null", "3", "{", "\xff", "[" * 3000), marks=pytest.mark.slow),
    ],
    ids=["some", "many"],
)
@pytest.mark.parametrize("name", RECORDS)
@pytest.mark.parametrize("digests", [True, False], ids=["with digests", "of an earlier version"])
def test_records_of_another_kind_are_one_line(
    texts: tuple[str, ...], name: str, digests: bool, student_run: Path, stkd: Any
) -> None:
    file = student_run / name
    if not digests:
        (student_run / "manifest.json").unlink()
    if name == "env.json":  # it is read where a run goes on
        (student_run / "result.json").unlink()
        (student_run / "student.safetensors").unlink()
    for text in texts:
        file.write_text(text, encoding="latin-1")
        answer = resumed(student_run, stkd) if name == "env.json" else stkd("report", student_run)
        assert (answer.code, answer.err.count("\n")) == (2, 1), (text, answer.err)
        assert "damaged" in answer.err


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 50), marks=pytest.mark.slow)], ids=["some", "many"])
@pytest.mark.parametrize("name", RECORDS)
def test_a_flipped_bit_in_a_record_is_one_line(
    seeds: range, name: str, student_run: Path, flipped: Any, stkd: Any
) -> None:
    if name == "env.json":
        (student_run / "result.json").unlink()
        (student_run / "student.safetensors").unlink()
    for seed in seeds:
        with flipped(student_run / name, seed):
            answer = resumed(student_run, stkd) if name == "env.json" else stkd("report", student_run)
            assert (answer.code, answer.err.count("\n")) == (2, 1), answer.err
            assert f"{name} is" in answer.err
            assert "damaged" in answer.err


def test_a_flipped_bit_in_an_evaluation_has_it_made_anew(student_run: Path, flipped: Any) -> None:
    right = current_evaluation(student_run)
    for seed in range(10):
        with flipped(student_run / "evaluation.json", seed):
            assert read_evaluation(student_run) == {}
    assert read_evaluation(student_run)["top1"] == right["top1"]


def test_what_lacks_is_one_line(student_run: Path) -> None:
    (student_run / "manifest.json").unlink()
    result = read_result(student_run)
    assert result is not None
    (student_run / "result.json").write_text(json.dumps({k: v for k, v in result.items() if k != "lr"}))
    short = read_result(student_run)
    assert short is not None
    with pytest.raises(package.StkdError, match=r"result\.json is damaged, it lacks 'lr'"):
        short["lr"]
    assert short.get("lr") is None
    assert read_metrics(student_run)
    assert read_environment(student_run)


@pytest.mark.parametrize("left", ["half a row", "whole rows"])
def test_the_command_of_a_finished_run_writes_its_metrics_again(left: str, student_run: Path, stkd: Any) -> None:
    file = student_run / "metrics.jsonl"
    right = file.read_bytes()
    file.write_bytes(right[:-40] if left == "half a row" else right[: right.rindex(b"\n", 0, -1) + 1])
    answer = resumed(student_run, stkd)
    assert answer.code == 0
    assert answer.err == f"stkd: warning: {file} is damaged; it is written again from the last checkpoint\n"
    assert file.read_bytes() == right
    assert stkd("verify", student_run).code == 0


def test_metrics_that_were_damaged_after_the_last_checkpoint_are_written_again(tmp_path: Path) -> None:
    whole = package.train("cnn2", "digits", out=tmp_path / "run", **SMALL)
    right = (whole.out / "metrics.jsonl").read_bytes()
    for name in ("result.json", "model.safetensors"):
        (whole.out / name).unlink()
    (whole.out / "metrics.jsonl").write_bytes(right[:-30])
    assert package.train("cnn2", "digits", out=tmp_path / "run", **SMALL).fresh
    assert (whole.out / "metrics.jsonl").read_bytes() == right
