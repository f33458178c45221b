"""The evaluation kept beside a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stkd.runs.evaluation import keep_evaluation, kept_evaluation


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "student.safetensors").write_bytes(b"weights")
    return tmp_path / "run"


def test_what_was_kept_is_read_again_in_a_copy_too(run: Path, tmp_path: Path) -> None:
    assert kept_evaluation(run) is None
    file = keep_evaluation(run, {"top1": 0.5, "ood": {"data": "x"}})
    assert file.parent == run
    kept = kept_evaluation(Path(shutil.copytree(run, tmp_path / "copy", copy_function=shutil.copyfile)))
    assert kept is not None
    assert (kept["top1"], kept["ood"]) == (0.5, {"data": "x"})


def test_what_is_measured_on_request_stays_until_it_is_measured_again(run: Path) -> None:
    keep_evaluation(run, {"top1": 0.5, "robustness": {"model": 1}, "alone": {}})
    keep_evaluation(run, {"top1": 0.6, "ood": {"data": "x"}})
    keep_evaluation(run, {"top1": 0.7, "ood": {"data": "y"}})
    kept = kept_evaluation(run)
    assert kept is not None
    assert (kept["top1"], kept["robustness"], kept["ood"]) == (0.7, {"model": 1}, {"data": "y"})
    assert "alone" not in kept


def test_evaluations_of_other_weights_and_damaged_ones_are_none(run: Path) -> None:
    file = keep_evaluation(run, {"top1": 0.5, "robustness": {"model": 1}})
    whole = file.read_text()
    for text in ("", "[1]", "{}", whole[:-5], json.dumps({**json.loads(whole), "schema": 0})):
        file.write_text(text)
        assert kept_evaluation(run) is None
    file.write_text(whole)
    (run / "student.safetensors").write_bytes(b"others")
    assert kept_evaluation(run) is None
    keep_evaluation(run, {"top1": 0.9})
    kept = kept_evaluation(run)
    assert kept is not None
    assert "robustness" not in kept
    (run / "student.safetensors").unlink()
    assert kept_evaluation(run) is None
