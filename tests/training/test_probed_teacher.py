"""A teacher of other classes gets a head that is fitted on the user's images, and keeps it for good."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

import stkd as package
from stkd import models
from stkd.core.errors import StkdError
from stkd.models.files import ModelInfo, save_model
from stkd.runs.evaluation import evaluate_run
from stkd.runs.finished_run import open_run
from stkd.runs.probe import read_probe

SHORT: dict[str, Any] = {"epochs": 2, "train_images": 120, "batch_size": 30, "precision": "32", "accelerator": "cpu"}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A teacher of seven other classes, on larger images in three colours."""
    torch.manual_seed(7)
    file = tmp_path / "elsewhere.safetensors"
    words = ("alder", "beech", "cedar", "dogwood", "elm", "fir", "ginkgo")
    module = models.create("cnn4", num_classes=7)
    save_model(module, file, ModelInfo("cnn4", words, 3, 16, (0.5,) * 3, (0.3,) * 3))
    return file


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing was fitted before."""
    monkeypatch.setenv("STKD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def weights(teacher: Path | None, out: Path, **options: Any) -> dict[str, Tensor]:
    named = {"teacher_weights": teacher} if teacher is not None else {}
    options = {**SHORT, "teacher_probe": True, **named, **options}
    package.distill(None, "cnn2", "digits", "stkd", out=out, **options)
    return load_file(out / "student.safetensors")


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_killed_run_goes_on_with_the_same_head_though_the_cache_is_gone(
    elsewhere: Path, own_cache: Path, tmp_path: Path, killed_at: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stkd")
    whole = weights(elsewhere, tmp_path / "whole")
    assert "cnn4: a new head of 10 classes, fitted on 120 training images, is right on " in caplog.text
    with killed_at(6):
        weights(elsewhere, tmp_path / "run")
    head = tmp_path / "run" / "teacher-head.safetensors"
    kept = load_file(head)
    assert kept["weight"].shape == (10, models.classifier(models.create("cnn4", num_classes=2)).in_features)
    shutil.rmtree(own_cache)
    moved = Path(shutil.move(tmp_path / "run", tmp_path / "moved"))
    assert same(weights(elsewhere, moved), whole)
    assert same(load_file(moved / "teacher-head.safetensors"), kept)


def test_what_was_fitted_is_looked_up(elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = weights(elsewhere, tmp_path / "a")
    monkeypatch.setattr("stkd.teachers.probed.fit_probe", None)
    assert same(weights(elsewhere, tmp_path / "b"), first)
    with pytest.raises(TypeError):
        weights(elsewhere, tmp_path / "c", train_images=130)


def test_it_is_another_teacher_than_its_own_head(elsewhere: Path, tmp_path: Path, killed_at: Any) -> None:
    with killed_at(6):
        weights(elsewhere, tmp_path / "run")
    with pytest.raises(StkdError, match="started with teacher_probe=True, now teacher_probe=False"):
        weights(elsewhere, tmp_path / "run", teacher_probe=False)
    with pytest.raises(StkdError, match="takes the data's classes; leave out --teacher-classes"):
        weights(elsewhere, tmp_path / "other", teacher_classes=elsewhere)


def test_a_cache_of_its_answers(elsewhere: Path, own_cache: Path, tmp_path: Path) -> None:
    whole = weights(elsewhere, tmp_path / "whole")
    cache = tmp_path / "answers"
    options = {**SHORT, "teacher_weights": elsewhere, "teacher_probe": True, "dtype": "fp32"}
    package.cache_teacher(None, "digits", out=cache, **{**options, "epochs": 1})  # type: ignore[arg-type]
    shutil.rmtree(own_cache)
    package.cache_teacher(None, "digits", out=cache, **options)  # type: ignore[arg-type]
    assert not own_cache.exists()  # the head lies beside the answers, where those find it who learn from them
    assert same(weights(elsewhere, tmp_path / "cached", teacher_cache=cache), whole)
    assert same(weights(None, tmp_path / "alone", teacher_cache=cache, teacher_probe=False), whole)


def test_a_finished_run_knows_its_teacher(elsewhere: Path, own_cache: Path, tmp_path: Path) -> None:
    weights(elsewhere, tmp_path / "run", epochs=1)
    shutil.rmtree(own_cache)
    opened = open_run(tmp_path / "run")
    assert opened.teacher is not None
    assert opened.teacher(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    assert 0.2 < evaluate_run(tmp_path / "run")["teacher"]["top1"] <= 1
    (tmp_path / "run" / "teacher-head.safetensors").unlink()
    with pytest.raises(StkdError, match=r"the head that cnn4 was given is gone from its run; run the run's command"):
        open_run(tmp_path / "run")


def test_several_students_and_several_teachers(elsewhere: Path, tmp_path: Path) -> None:
    students = {"a": {"student": "cnn2"}, "b": {"student": "cnn2", "seed": 1}}
    options = {**SHORT, "epochs": 1, "teacher_weights": elsewhere, "more_teachers": (elsewhere,), "teacher_probe": True}
    package.distill_many(None, students, "digits", out=tmp_path / "group", **options)
    for name in students:
        heads = sorted(file.name for file in (tmp_path / "group" / name).glob("teacher-head*"))
        assert heads == ["teacher-head.safetensors", "teacher-head2.safetensors"]


def test_a_module_of_the_user_keeps_its_own_head(tmp_path: Path) -> None:
    module = models.create("timm/test_resnet", num_classes=7, in_channels=1)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    options = {**SHORT, "epochs": 1, "teacher_size": 32, "teacher_probe": True}
    package.distill(module, "cnn2", "digits", "kd", out=tmp_path / "run", **options)
    assert same(before, module.state_dict())
    assert module.num_classes == 7


def test_what_is_kept_says_what_it_is(elsewhere: Path, tmp_path: Path) -> None:
    weights(elsewhere, tmp_path / "run", epochs=1)
    with safe_open(tmp_path / "run" / "teacher-head.safetensors", framework="pt") as file:
        assert '"images": 120' in file.metadata()["stkd-probe"]
    (tmp_path / "run" / "teacher-head.safetensors").write_bytes(b"damaged")
    weights(elsewhere, tmp_path / "run", epochs=2)  # from the cache, where the run's own is damaged
    load_file(tmp_path / "run" / "teacher-head.safetensors")


def test_the_model_with_its_new_head_in_a_file(elsewhere: Path, tmp_path: Path, stkd: Any) -> None:
    out = tmp_path / "probe"
    command = ("probe", "--data", "digits", "--teacher-weights", elsewhere, "--accelerator", "cpu", "--out", out)
    done = stkd(*command)
    assert done.code == 0, done.err
    assert f"{out / 'model.safetensors'}: right on " in done.out
    assert "of 500 test images" in done.out
    model, info = package.load(out / "model.safetensors")
    assert (info.model, info.size, info.classes, info.mean) == ("cnn4", 16, tuple("0123456789"), (0.5,) * 3)
    original = load_file(elsewhere)
    assert all(torch.equal(t, original[n]) for n, t in model.state_dict().items() if not n.startswith("fc."))
    record = json.loads((out / "probe.json").read_text())
    assert record["images"] == len(package.open_data("digits").train)
    scored = json.loads(stkd("evaluate", out, "--json").out)
    assert (scored["images"], scored["top1"]) == (500, pytest.approx(record["test"]["top1"]))
    assert "top-1" in stkd("evaluate", out, "--data", "digits", "--split", "train").out
    assert stkd("evaluate", out, "--alone", out).err.count("leave it out for a probe") == 1
    taught = evaluate_teacher(out, tmp_path / "run")
    assert taught == pytest.approx(record["test"]["top1"], abs=0.005)
    assert stkd(*command).code == 0  # again, into the same folder
    refused = stkd(*command[:-1], tmp_path)
    assert refused.code == 2
    assert "is not empty and holds no probe; give --out a new directory" in refused.err


def evaluate_teacher(teacher: Path, run: Path) -> float:
    """Test accuracy of a teacher, after an epoch in which it taught."""
    package.distill(teacher, "cnn2", "digits", "kd", out=run, **{**SHORT, "epochs": 1})
    return float(evaluate_run(run)["teacher"]["top1"])


def test_a_module_with_a_new_head_from_python(tmp_path: Path) -> None:
    module = models.create("cnn4", num_classes=7, in_channels=1)
    done = package.probe(module, "digits", out=tmp_path / "probe", train_images=120, accelerator="cpu")
    assert done.record["images"] == 120
    opened, info = package.load(done.weights, model=models.create("cnn4", num_classes=10, in_channels=1))
    assert opened(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    assert len(info.classes) == 10
    assert models.classifier(module).out_features == 7
    with pytest.raises(StkdError, match="a probe is of one model; leave out --more-teachers"):
        package.probe(module, "digits", out=tmp_path / "other", more_teachers=(tmp_path,))


@pytest.mark.parametrize("content", ["{", "{}", '{"model": "cnn4", "data": "digits", "options": {"epochs": "many"}}'])
def test_a_damaged_record_of_a_probe(content: str, tmp_path: Path) -> None:
    (tmp_path / "probe.json").write_text(content)
    with pytest.raises(StkdError, match=r"probe\.json is damaged; run 'stkd probe' again"):
        read_probe(tmp_path)
