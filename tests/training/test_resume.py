"""A run that was stopped, however and wherever, ends with the same weights, bit for bit, as one that was not."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from torch import nn

import stkd as package
from stkd.data import open_data
from stkd.runs.checkpoint import load_checkpoint
from stkd.training.learner import Learner

SMALL = {"epochs": 3, "train_images": 160, "batch_size": 16, "precision": "32", "accelerator": "cpu"}
EVERY_STEP = {"checkpoint_minutes": 1e-9}
"""A checkpoint after every step."""


def digest(run: Path) -> dict[str, bytes]:
    """Every file of weights that a run ended with."""
    found = {p.name: p.read_bytes() for p in run.glob("*.safetensors")}
    assert found
    return found


def flags(options: dict[str, Any]) -> list[str]:
    return [w for name, value in options.items() for w in (f"--{name.replace('_', '-')}", str(value))]


@pytest.mark.services
def test_killed_process(teacher_run: Path, tmp_path: Path, stkd: Any, metrics: Any) -> None:
    command = ["distill", "--data", "digits", "--teacher-weights", str(teacher_run), "--student", "cnn2"]
    command += ["--epochs", "4", "--batch-size", "8", "--precision", "32", "--accelerator", "cpu"]
    assert stkd(*command, "--out", tmp_path / "whole").code == 0
    run = tmp_path / "run"
    last = run / "checkpoints" / "last.pt"
    argv = [sys.executable, "-m", "stkd", *command, "--checkpoint-minutes", "0.0002", "--out", str(run)]
    kills = 0
    while True:
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        before = last.stat().st_mtime_ns if last.exists() else 0
        # first while the directory is being made, then once a new checkpoint stands, at whatever step that is
        while kills < 3 and process.poll() is None:
            if run.exists() and (kills == 0 or (last.exists() and last.stat().st_mtime_ns > before)):
                time.sleep(0.05 * kills)
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.002)
        error = process.communicate()[1]
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, error
        kills += 1
    assert kills > 0
    assert digest(run) == digest(tmp_path / "whole")
    assert metrics(run) == metrics(tmp_path / "whole")
    assert not [p for p in run.rglob(".*") if p.name != ".lock"]


@pytest.mark.parametrize(
    "options",
    [
        {"schedule": "multistep", "clip_norm": 1.0, "label_smoothing": 0.1},
        {"ema": 0.9, "val_fraction": 0.2},
        {"optimizer": "adamw", "schedule": "onecycle"},
        {"nesterov": True, "warmup_epochs": 1.0, "precision": "bf16"},
        {"per_sample": True, "instances": 3, "mix": "cutmix", "checkpoint_epochs": 2, "eval_every": 2},
    ],
    ids=lambda options: "-".join(options),
)
def test_killed_at_any_step(
    options: dict[str, Any], teacher_run: Path, tmp_path: Path, killed_at: Any, metrics: Any
) -> None:
    def run(out: str) -> package.Result:
        given = {"teacher_weights": teacher_run, **SMALL, **EVERY_STEP, **options}
        return package.distill(str(teacher_run), "cnn2", "digits", out=tmp_path / out, **given)

    run("whole")
    for step in (1, 7, 10, 4):
        with killed_at(step):
            run("parts")
    resumed = run("parts")
    assert resumed.fresh
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")


def test_killed_without_checkpoints_inside_epochs(tmp_path: Path, killed_at: Any, metrics: Any) -> None:
    options = SMALL | {"checkpoint_minutes": 0}
    package.train("cnn2", "digits", out=tmp_path / "whole", **options)
    for step in (3, 14, 12):
        with killed_at(step):
            package.train("cnn2", "digits", out=tmp_path / "parts", **options)
    package.train("cnn2", "digits", out=tmp_path / "parts", **options)
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")


def test_randomness_inside_the_model_goes_on(tmp_path: Path, killed_at: Any) -> None:
    def model() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10))

    def run(out: str, start: nn.Module) -> None:
        package.train(start, "digits", out=tmp_path / out, **SMALL, **EVERY_STEP)

    start = model()
    weights = {k: v.clone() for k, v in start.state_dict().items()}
    run("whole", start)
    for step in (5, 9):
        again = model()
        again.load_state_dict(weights)
        with killed_at(step):
            run("parts", again)
    run("parts", model())
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")


def test_killed_after_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metrics: Any) -> None:
    """What is left to do then is to write the final weights; the last epoch's metrics must be there too."""
    package.train("cnn2", "digits", out=tmp_path / "whole", **SMALL)

    def die(*_: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "finish", die)
        with pytest.raises(SystemExit):
            package.train("cnn2", "digits", out=tmp_path / "parts", **SMALL)
    package.train("cnn2", "digits", out=tmp_path / "parts", **SMALL)
    assert digest(tmp_path / "parts") == digest(tmp_path / "whole")
    assert metrics(tmp_path / "parts") == metrics(tmp_path / "whole")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signal(number: signal.Signals, code: int, tmp_path: Path, stkd: Any, act_at: Any, metrics: Any) -> None:
    command = ["train", "--data", "digits", "--model", "cnn2", *flags(SMALL)]
    assert stkd(*command, "--out", tmp_path / "whole").code == 0
    handler = signal.getsignal(number)
    with act_at(14, lambda: signal.raise_signal(number)):
        answer = stkd(*command, "--out", tmp_path / "run")
    assert signal.getsignal(number) is handler
    assert answer.code == code
    line = answer.err.splitlines()[-1]
    assert line.startswith("stkd: stopped at epoch 2, step 4; checkpoint written to ")
    assert line.endswith("run the same command again to go on")
    state = load_checkpoint(tmp_path / "run" / "checkpoints" / "last.pt")
    assert (state["epoch"], state["step"]) == (1, 4)
    assert stkd(*command, "--out", tmp_path / "run").code == 0
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


@pytest.mark.services
def test_signal_after_the_last_step(tmp_path: Path, stkd: Any, metrics: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not forgotten while the end of the last epoch is scored: evaluating may take long."""
    command = ["train", "--data", "digits", "--model", "cnn2", *flags(SMALL)]
    assert stkd(*command, "--out", tmp_path / "whole").code == 0
    end_epoch = Learner.end_epoch

    def end_last(self: Learner) -> None:
        if self.state.epoch + 1 == SMALL["epochs"]:
            signal.raise_signal(signal.SIGTERM)
        end_epoch(self)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "end_epoch", end_last)
        answer = stkd(*command, "--out", tmp_path / "run")
    assert answer.code == 143
    assert answer.err.startswith("stkd: stopped after the last epoch; checkpoint written to ")
    assert not (tmp_path / "run" / "result.json").exists()
    assert stkd(*command, "--out", tmp_path / "run").code == 0
    assert digest(tmp_path / "run") == digest(tmp_path / "whole")
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_two_writers_and_a_signal(tmp_path: Path, stkd: Any) -> None:
    """A second process is turned away; the first goes on unharmed, and stops in good order when it is asked to."""
    command = ["train", "--data", "digits", "--model", "cnn2", "--epochs", "60", "--batch-size", "8"]
    command += ["--precision", "32", "--accelerator", "cpu", "--out", str(tmp_path / "run")]
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    first = subprocess.Popen([sys.executable, "-m", "stkd", *command], stderr=subprocess.PIPE, text=True)
    try:
        while not last.exists():
            assert first.poll() is None
            time.sleep(0.01)
        second = stkd(*command)
        assert second.code == 2
        assert second.err.startswith("stkd: error: another process is writing to ")
        assert second.err.endswith("wait for it, or give another --out\n")
        assert second.err.count("\n") == 1
        assert first.poll() is None
        first.send_signal(signal.SIGTERM)
        error = first.communicate(timeout=600)[1]
    finally:
        first.kill()
    assert first.returncode == 143
    *epochs, last_line = error.splitlines()
    assert last_line.startswith("stkd: stopped at epoch ")
    assert any(line.startswith("stkd: note: run, epoch ") for line in epochs)
    assert load_checkpoint(last)["epoch"] >= 1


def test_finished_run_is_left_alone(student_run: Path, teacher_run: Path, stkd: Any) -> None:
    config = yaml.safe_load((student_run / "config.yaml").read_text())
    command = ["distill", "--data", "digits", "--teacher-weights", config["teacher_weights"], "--student", "cnn2"]
    command += ["--epochs", "2", "--val-fraction", "0.2", "--precision", "32", "--accelerator", "cpu"]
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in student_run.rglob("*") if p.is_file()}
    answer = stkd(*command, "--out", student_run, "--workers", "1", "--checkpoint-minutes", "9")
    assert answer.code == 0
    assert answer.err == ""
    assert "was finished before" in answer.out
    assert str(student_run / "student.safetensors") in answer.out
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in student_run.rglob("*") if p.is_file()} == before


def test_data_set_is_identified_by_content(tmp_path: Path, killed_at: Any) -> None:
    """The same options with other images behind them are another run."""
    data = open_data("digits", train_images=160)
    options = SMALL | {"train_images": None}
    with killed_at(12):
        package.train("cnn2", data, out=tmp_path / "run", **options)
    other = dataclasses.replace(data, fingerprint="other")
    with pytest.raises(package.StkdError, match=r"the data changed since .* was started; bring it back"):
        package.train("cnn2", other, out=tmp_path / "run", **options)
