"""Runs with operations on images: resumed, from a cache, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import stkd as package
from stkd.core.errors import StkdError

SMALL: dict[str, Any] = {
    "epochs": 3,
    "train_images": 96,
    "batch_size": 16,
    "precision": "32",
    "accelerator": "cpu",
    "auto_augment": "trivialaugment",
    "erasing": "random",
    "compile": "none",
}


def weights(run: Path) -> bytes:
    return (run / "student.safetensors").read_bytes()


def test_a_resumed_run_is_the_same(teacher_run: Path, tmp_path: Path, killed_at: Any) -> None:
    def run(out: str, **options: Any) -> bytes:
        given = {**SMALL, "checkpoint_minutes": 1e-9, **options}
        package.distill(str(teacher_run), "cnn2", "digits", out=tmp_path / out, **given)
        return weights(tmp_path / out)

    for step in (4, 5):
        with killed_at(step):
            run("parts")
    assert run("parts") == run("whole") != run("plain", auto_augment="none", erasing="none")


def test_a_cache_is_of_the_same_images(teacher_run: Path, tmp_path: Path) -> None:
    package.cache_teacher(str(teacher_run), "digits", out=tmp_path / "cache", dtype="fp32", **SMALL)
    plain = SMALL | {"auto_augment": "none", "erasing": "none"}
    package.cache_teacher(str(teacher_run), "digits", out=tmp_path / "plain", dtype="fp32", **plain)
    package.distill(str(teacher_run), "cnn2", "digits", out=tmp_path / "live", **SMALL)

    def cached(out: str, cache: str = "cache", **options: Any) -> bytes:
        given = {"teacher_cache": tmp_path / cache, **SMALL, **options}
        package.distill(None, "cnn2", "digits", out=tmp_path / out, **given)
        return weights(tmp_path / out)

    assert cached("cached") == weights(tmp_path / "live")
    with pytest.raises(StkdError, match="with --auto-augment trivialaugment, here it is randaugment; give the same"):
        cached("other", auto_augment="randaugment")
    with pytest.raises(StkdError, match="with --erasing random, here it is none;"):
        cached("other", erasing="none")
    with pytest.raises(StkdError, match="with --auto-augment none, here it is trivialaugment;"):
        cached("other", cache="plain")
    with pytest.raises(StkdError, match=r"with --mix-until all epochs, here it is 0\.5 of 3 epochs;"):
        cached("other", cache="plain", mix_until=0.5, auto_augment="none", erasing="none")


@pytest.mark.parametrize("flag", ["--auto-augment", "--erasing"])
def test_unknown_name_is_one_line(flag: str, tmp_path: Path, stkd: Any) -> None:
    command = ["train", "--data", "digits", "--model", "cnn2", "--out", tmp_path / "run"]
    answer = stkd(*command, flag, "randaugmnt")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert f"{flag} must be one of 'none', " in answer.err
    assert not (tmp_path / "run").exists()
