"""A student under 10 %, a teacher at 99 %: nothing was said (knowledge-distillation-pytorch, issue 5)."""

from __future__ import annotations

from pathlib import Path

import pytest

import stkd

SMALL = {"epochs": 2, "precision": "32", "accelerator": "cpu", "preflight": "off"}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher that is right on 95 % of the digits."""
    out = tmp_path_factory.mktemp("teacher") / "run"
    result = stkd.train("cnn8", "digits", out=out, **{**SMALL, "epochs": 10})
    assert result.scores["test"]["top1"] > 0.9
    return out


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING" and "about chance" in r.getMessage()]


@pytest.mark.parametrize(
    "options", [{"lr": 1e-9}, {"lr": 1e-9, "method": "kd:temperature=1"}, {"lr": 1e-9, "top_k": 4}]
)
def test_it_is_said(
    options: dict[str, object], teacher: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "stkd")
    given = {**SMALL, **options}
    if (top_k := given.pop("top_k", None)) is not None:  # a cache cannot be asked about test images
        given |= {"method": "kd"}
        cache = stkd.cache_teacher(str(teacher), "digits", "kd", out=tmp_path / "cache", top_k=top_k, **SMALL)
        stkd.distill(None, "cnn2", "digits", out=tmp_path / "run", teacher_cache=cache.out, **given)
    else:
        stkd.distill(str(teacher), "cnn2", "digits", out=tmp_path / "run", **given)
    (line,) = warnings(caplog)
    assert "though the teacher is right on" in line
    assert "look at train_loss in metrics.jsonl, at --lr, and whether the student ends in logits" in line


def test_a_student_that_learns_is_not_warned_of(
    teacher: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", "stkd")
    stkd.distill(str(teacher), "cnn4", "digits", "kd", out=tmp_path / "run", **{**SMALL, "epochs": 8})
    assert warnings(caplog) == []


def test_nor_is_a_student_of_a_teacher_that_is_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", "stkd")
    teacher = stkd.models.create("cnn8", num_classes=10, in_channels=1)
    stkd.distill(teacher, "cnn2", "digits", "kd", out=tmp_path / "run", **SMALL, lr=1e-9)
    assert warnings(caplog) == []
