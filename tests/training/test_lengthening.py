"""A run that is given more epochs goes on; a run of before there was a choice of batches keeps its batches."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.optim.lr_scheduler import LRScheduler

import stkd
from stkd.runs.checkpoint import load_checkpoint, save_checkpoint
from stkd.runs.directory import RunDirectory, finished_result, read_metrics

SMALL = {"train_images": 100, "batch_size": 16, "precision": "32", "accelerator": "cpu", "checkpoint_minutes": 1e-9}


def train(out: Path, epochs: int, **options: Any) -> stkd.Result:
    return stkd.train("cnn2", "digits", out=out, epochs=epochs, **{**SMALL, **options})


def last(run: Path) -> dict[str, Any]:
    return load_checkpoint(run / "checkpoints" / "last.pt")


def rates(run: Path) -> list[float]:
    return [row["lr"] for row in read_metrics(run)]


SCHEDULES: list[dict[str, Any]] = [
    {},
    {"warmup_epochs": 1.0},
    {"schedule": "multistep", "optimizer": "adamw"},
    {"schedule": "onecycle"},
    {"schedule": "constant", "ema": 0.9, "val_fraction": 0.2},
]


@pytest.mark.parametrize("options", SCHEDULES, ids=str)
def test_a_finished_run_is_lengthened(
    options: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """From its end on the learning rate is that of a run of so many epochs."""
    caplog.set_level("INFO", "stkd")
    whole = train(tmp_path / "whole", 4, **options)
    first = train(tmp_path / "run", 2, **options)
    ended = last(first.out)["optimizer"]["param_groups"][0]["lr"]
    rows = read_metrics(first.out)
    longer = train(tmp_path / "run", 4, **options)
    assert longer.fresh
    assert (longer.scores["epochs"], longer.scores["images_seen"]) == (4, whole.scores["images_seen"])
    assert read_metrics(longer.out)[:2] == rows
    assert rates(longer.out)[2:] == rates(whole.out)[2:]
    change = {"lengthened": {"from": 2, "to": 4, "epoch": 2}}
    assert longer.scores["changes"] == [change]
    assert json.loads((longer.out / "env.json").read_text())["resumed"][-1].items() >= change.items()
    (said,) = [m for m in caplog.messages if "goes on after epoch 2 and has 4 epochs instead of 2" in m]
    jumped = options.get("schedule") != "constant"
    # a learning rate that stays the same makes it the run of so many epochs, bit for bit
    assert (longer.weights.read_bytes() == whole.weights.read_bytes()) != jumped
    assert ("the learning rate jumps from" in said) == jumped
    assert not jumped or f"from {ended:.3g} to " in said
    assert yaml.safe_load((longer.out / "config.yaml").read_text())["epochs"] == 4
    assert "After epoch 2 it was lengthened from 2 to 4 epochs." in (longer.out / "README.md").read_text()
    assert not train(tmp_path / "run", 4, **options).fresh
    with pytest.raises(stkd.StkdError, match="started with epochs=4, now epochs=2; a run can be lengthened, not short"):
        train(tmp_path / "run", 2, **options)


def test_killed_while_it_is_lengthened(tmp_path: Path, killed_at: Any, metrics: Any) -> None:
    """It stays the finished run that it was, and ends as if it had not been killed."""
    for out in ("whole", "parts"):
        train(tmp_path / out, 2)
    parts = tmp_path / "parts"
    notes = ("env.json", "manifest.json", ".lock")
    files = {p.name: p.read_bytes() for p in parts.iterdir() if p.is_file() and p.name not in notes}
    train(tmp_path / "whole", 5)
    for step in (3, 6):
        with killed_at(step):
            train(parts, 5)
        assert {name: (parts / name).read_bytes() for name in files} == files
        assert not train(parts, 2).fresh, "it is still the finished run of 2 epochs"
    with pytest.raises(stkd.StkdError, match="was lengthened to 5 epochs and cannot be shortened to 3"):
        train(parts, 3)
    train(parts, 5)
    assert metrics(parts) == metrics(tmp_path / "whole")
    assert (parts / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()
    assert not (parts / "checkpoints" / "metrics.jsonl").exists()


def test_killed_at_its_new_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the rename that decides it is the old run, after it the new one; never something between."""
    rename, replace = os.rename, os.replace

    def dying(call: Callable[..., None], name: str) -> Callable[..., None]:
        def renamed(source: Any, target: Any) -> None:
            if Path(source).name == name:
                raise KeyboardInterrupt
            call(source, target)

        return renamed

    for name, epochs in ((".end-unwritten", 1), ("model.safetensors", 2), ("result.json", 2)):
        out = tmp_path / name
        train(out, 1)
        with monkeypatch.context() as patch:
            patch.setattr("os.rename", dying(rename, name))
            patch.setattr("os.replace", dying(replace, name))
            with pytest.raises(KeyboardInterrupt):
                train(out, 2)
        again = train(out, epochs)
        assert not again.fresh
        assert again.scores["epochs"] == epochs == yaml.safe_load((out / "config.yaml").read_text())["epochs"]
        assert len(read_metrics(out)) == epochs
        assert finished_result(out) is not None
        assert train(out, 2).scores["epochs"] == 2


def test_a_stopped_run_is_lengthened(tmp_path: Path, killed_at: Any) -> None:
    whole = train(tmp_path / "whole", 4)
    with killed_at(9):
        train(tmp_path / "run", 2)
    longer = train(tmp_path / "run", 4)
    assert rates(longer.out)[1:] == rates(whole.out)[1:]
    assert longer.scores["changes"] == [{"lengthened": {"from": 2, "to": 4, "epoch": 1}}]


def test_without_its_checkpoint_it_is_not(tmp_path: Path) -> None:
    run = train(tmp_path / "run", 1)
    (run.out / "checkpoints" / "last.pt").unlink()
    with pytest.raises(stkd.StkdError, match="has no checkpoint to go on from; give another --out to train for longer"):
        train(tmp_path / "run", 2)
    assert not train(tmp_path / "run", 1).fresh


def test_a_method_of_two_stages_does_not_go_back_to_its_first(
    teacher_run: Path, tmp_path: Path, killed_at: Any
) -> None:
    def run(epochs: int) -> stkd.Result:
        return stkd.distill(str(teacher_run), "cnn2", "digits", "ab", out=tmp_path / "run", epochs=epochs, **SMALL)

    with killed_at(20):
        run(4)
    with pytest.raises(
        stkd.StkdError, match=r"the first stage of this method would last .* epochs, and the run has left"
    ):
        run(40)
    assert run(4).fresh


def test_from_a_cache_that_is_shorter(teacher_run: Path, tmp_path: Path) -> None:
    """It goes round the epochs of the cache, as a run of so many epochs would."""
    small = {name: value for name, value in SMALL.items() if name != "checkpoint_minutes"}
    cache = stkd.cache_teacher(str(teacher_run), "digits", "kd", out=tmp_path / "cache", epochs=3, **small)

    def run(epochs: int) -> stkd.Result:
        options = {**small, "teacher_cache": cache.out, "epochs": epochs, "out": tmp_path / "run"}
        return stkd.distill(None, "cnn2", "digits", "kd", **options)

    assert run(3).scores["epochs"] == 3
    assert run(5).scores["epochs"] == 5
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["sample_epochs"] == 3
    assert run(7).scores["epochs"] == 7


# Runs of before.


def forget_choice(run: Path) -> None:
    """Make a run look as an earlier version left it."""
    (run / "manifest.json").unlink()
    file = run / "config.yaml"
    options = yaml.safe_load(file.read_text())
    for name in ("drop_last", "data_changed", "class_weights"):
        options.pop(name, None)
    file.write_text(yaml.safe_dump(options))
    state = last(run)
    for name in ("epochs", "steps", "images", "changes"):
        del state[name]
    state["identity"].pop("classes")
    save_checkpoint(run / "checkpoints" / "last.pt", state)


def test_a_run_of_before_keeps_its_batches(tmp_path: Path, killed_at: Any, stkd: Any) -> None:
    whole = train(tmp_path / "whole", 3, drop_last=True)
    with killed_at(8):
        train(tmp_path / "run", 3, drop_last=True)
    forget_choice(tmp_path / "run")
    resumed = train(tmp_path / "run", 3)
    assert resumed.weights.read_bytes() == whole.weights.read_bytes()
    assert resumed.scores["images_seen"] == whole.scores["images_seen"] == 3 * 96
    forget_choice(tmp_path / "run")
    recipe = tmp_path / "run" / "config.yaml"
    assert stkd("train", "--recipe", recipe, "--out", tmp_path / "again").code == 0
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == whole.weights.read_bytes()
    assert train(tmp_path / "run", 4).scores["images_seen"] == 4 * 96


def test_students_of_before_and_of_now_do_not_share_batches(teacher_run: Path, tmp_path: Path, killed_at: Any) -> None:
    def run(students: list[str], **options: Any) -> dict[str, Any]:
        given = {name: {"student": "cnn2"} for name in students}
        return stkd.distill_many(str(teacher_run), given, "digits", "kd", out=tmp_path, epochs=2, **SMALL, **options)

    with killed_at(3):
        run(["a"], drop_last=True)
    forget_choice(tmp_path / "a")
    with pytest.raises(stkd.StkdError, match=r"would see other batches, .* give --drop-last true"):
        run(["a", "b"])
    assert len(run(["a", "b"], drop_last=True)) == 2


def test_a_cache_of_before_is_of_its_batches(teacher_run: Path, tmp_path: Path) -> None:
    small = {"precision": "32", "accelerator": "cpu", "epochs": 1, "train_images": 100, "batch_size": 16}
    cache = stkd.cache_teacher(str(teacher_run), "digits", "kd", out=tmp_path / "cache", drop_last=True, **small)
    header = json.loads((cache.out / "header.json").read_text())
    del header["samples"]["drop_last"]
    (cache.out / "manifest.json").unlink()
    (cache.out / "header.json").write_text(json.dumps(header))
    options = {**small, "teacher_cache": cache.out, "out": tmp_path / "run"}
    with pytest.raises(stkd.StkdError, match="was made with --drop-last true, here it is false; give the same"):
        stkd.distill(None, "cnn2", "digits", "kd", **options)
    assert stkd.distill(None, "cnn2", "digits", "kd", drop_last=True, **options).fresh


def test_a_resumed_schedule_is_not_made_anew(tmp_path: Path, killed_at: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing changed, nothing is advanced step by step."""
    with killed_at(9):
        train(tmp_path / "run", 2)
    from stkd.training import resume

    def advanced(scheduler: LRScheduler, steps: int) -> None:
        raise AssertionError

    monkeypatch.setattr(resume, "_advance", advanced)
    assert train(tmp_path / "run", 2).fresh


def test_a_directory_says_what_it_was_begun_with(tmp_path: Path) -> None:
    from stkd.core.config import TrainConfig

    train(tmp_path / "run", 1)
    options = {**SMALL, "data": "digits", "model": "cnn2", "out": tmp_path / "run"}
    with RunDirectory(TrainConfig(**options, epochs=2)) as run:
        assert run.result is None
        assert run.begun["epochs"] == 1
    assert torch.is_tensor(last(tmp_path / "run")["rng"])
