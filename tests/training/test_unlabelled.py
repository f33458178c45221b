"""Runs with unlabelled images: what they learn from, how they go on, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import stkd as package
from stkd.core.errors import StkdError
from stkd.runs.finished_run import open_run

SMALL: dict[str, Any] = {
    "epochs": 2,
    "train_images": 48,
    "batch_size": 16,
    "precision": "32",
    "accelerator": "cpu",
    "compile": "none",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "unlabelled").mkdir()
    rng = np.random.default_rng(0)
    for k in range(20):
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(tmp_path / "unlabelled" / f"{k}.png")
    return tmp_path / "unlabelled"


def weights(run: Path) -> bytes:
    return (run / "student.safetensors").read_bytes()


@pytest.mark.parametrize("method", [pytest.param("kd", marks=pytest.mark.slow), "stkd"])
def test_a_resumed_run_is_the_same(
    method: str, teacher_run: Path, folder: Path, tmp_path: Path, killed_at: Any, metrics: Any
) -> None:
    def run(out: str, **options: Any) -> bytes:
        given = {**SMALL, "method": method, "unlabelled": folder, "checkpoint_minutes": 1e-9, **options}
        package.distill(str(teacher_run), "cnn2", "digits", out=tmp_path / out, **given)
        return weights(tmp_path / out)

    for step in (4, 5):
        with killed_at(step):
            run("parts")
    assert run("parts") == run("whole") != run("more", unlabelled_ratio=3.0)
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")
    with pytest.raises(StkdError, match=r"started with unlabelled_ratio=1\.0, now unlabelled_ratio=3\.0"):
        run("whole", unlabelled_ratio=3.0)


def test_a_cache_is_of_the_same_images(teacher_run: Path, folder: Path, tmp_path: Path) -> None:
    options = {**SMALL, "unlabelled": folder}
    package.cache_teacher(str(teacher_run), "digits", out=tmp_path / "cache", dtype="fp32", **options)
    package.distill(str(teacher_run), "cnn2", "digits", out=tmp_path / "live", **options)
    options["teacher_cache"] = tmp_path / "cache"
    package.distill(None, "cnn2", "digits", out=tmp_path / "cached", **options)
    assert weights(tmp_path / "cached") == weights(tmp_path / "live")
    with pytest.raises(StkdError, match="with --unlabelled-ratio 1, here it is 2;"):
        package.distill(None, "cnn2", "digits", out=tmp_path / "other", **options, unlabelled_ratio=2.0)


def test_a_finished_run_is_opened_without_them(teacher_run: Path, folder: Path, tmp_path: Path) -> None:
    options = {**SMALL, "unlabelled": folder}
    package.distill(str(teacher_run), "cnn2", "digits", out=tmp_path / "run", **options)
    for file in folder.iterdir():
        file.unlink()
    assert len(open_run(tmp_path / "run", with_teacher=False).data.train) == 48


def test_labels_are_those_of_the_labelled_images(teacher_run: Path, folder: Path, tmp_path: Path) -> None:
    """Where the teacher has no weight, and rows do not touch each other, unlabelled rows change nothing."""

    def trained(out: str, **options: Any) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        given = {**SMALL, "method": "kd:weight=0", "augment": "none", "label_smoothing": 0.1, "lr": 0.05, **options}
        package.distill(str(teacher_run), model, "digits", out=tmp_path / out, **given)
        return next(iter(load_file(tmp_path / out / "student.safetensors").values()))

    beside = trained("beside", batch_size=16, unlabelled=folder)
    torch.testing.assert_close(beside, trained("plain", batch_size=8))


@pytest.mark.parametrize("method", ["dkd", "stkd:beta=2", "crd", "kd+nkd"])
def test_methods_that_look_at_every_label_are_refused(
    method: str, teacher_run: Path, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(StkdError, match="looks at the label of every image, and those of --unlabelled have none") as e:
        package.distill(
            str(teacher_run), "cnn2", "digits", out=tmp_path / "run", method=method, unlabelled=folder, **SMALL
        )
    assert "\n" not in str(e.value)


def test_without_a_teacher_they_are_left_out(folder: Path, teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    command = ["distill", "--data", "digits", "--teacher-weights", teacher_run, "--student", "cnn2", "--method", "ce"]
    command += ["--epochs", "1", "--train-images", "32", "--precision", "32", "--accelerator", "cpu"]
    answer = stkd(*command, "--unlabelled", folder, "--out", tmp_path / "run")
    assert answer.code == 0, answer.err
    assert "ce has no teacher: the unlabelled images are left out" in answer.err
    assert stkd(*command, "--out", tmp_path / "plain").code == 0
    assert weights(tmp_path / "run") == weights(tmp_path / "plain")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--unlabelled", "{nowhere}"], "nowhere is no folder; give one of images"),
        (["--unlabelled", "{unlabelled}", "--batch-size", "1"], "give --batch-size 2 or more"),
        (["--unlabelled", "{unlabelled}", "--unlabelled-ratio", "0"], "unlabelled_ratio must be at least 0.01, got 0"),
    ],
)
def test_mistakes_get_one_line(
    options: list[str], words: str, folder: Path, teacher_run: Path, tmp_path: Path, stkd: Any
) -> None:
    words_of = [str(tmp_path / word[1:-1]) if word.startswith("{") else word for word in options]
    command = ["distill", "--data", "digits", "--teacher-weights", teacher_run, "--student", "cnn2"]
    answer = stkd(*command, "--epochs", "1", "--train-images", "32", "--out", tmp_path / "run", *words_of)
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert words in answer.err
