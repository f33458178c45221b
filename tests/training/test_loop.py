"""What the loop does besides resuming: a loss that is not finite, the best checkpoint, EMA, the record of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import stkd as package
from stkd import losses, models
from stkd.core.errors import StkdError
from stkd.data import open_data
from stkd.evaluation import score
from stkd.models import weights
from stkd.runs.checkpoint import load_checkpoint

SMALL = {"epochs": 3, "train_images": 160, "batch_size": 16, "precision": "32", "accelerator": "cpu"}


def _tensors(content: Any) -> list[torch.Tensor]:
    if isinstance(content, torch.Tensor):
        return [content]
    parts = content.values() if isinstance(content, dict) else content if isinstance(content, list | tuple) else []
    return [t for part in parts for t in _tensors(part)]


@pytest.mark.parametrize("minutes", ["5", "1e-9"])
def test_loss_that_is_not_finite(minutes: str, tmp_path: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Epoch and step are named, and no checkpoint keeps what the loss has spoilt."""
    cross_entropy, calls = losses.cross_entropy, 0

    def spoilt(*args: Any, **options: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return cross_entropy(*args, **options) * (float("nan") if calls == 14 else 1)

    monkeypatch.setattr(losses, "cross_entropy", spoilt)
    options = [w for k, v in SMALL.items() for w in (f"--{k.replace('_', '-')}", str(v))]
    command = ["train", "--data", "digits", "--model", "cnn2", *options, "--checkpoint-minutes", minutes]
    answer = stkd(*command, "--out", tmp_path / "run")
    last = tmp_path / "run" / "checkpoints" / "last.pt"
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert f"loss became NaN or infinite at epoch 2, step 4; the last good checkpoint is {last}" in answer.err
    assert "--lr (now 0.0125)" in answer.err
    state = load_checkpoint(last)
    assert (state["epoch"], state["step"]) == ((1, 0) if minutes == "5" else (1, 3))
    assert all(torch.isfinite(t.float()).all() for t in _tensors(state))
    assert not (tmp_path / "run" / "model.safetensors").exists()


class Overflowing(torch.nn.Module):
    """A teacher whose logits are finite for a black image alone."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(1, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        grey = images.mean((1, 2, 3))[:, None]
        logits: torch.Tensor = self.fc(grey) * torch.where(grey == 0, 1.0, float("inf"))
        return logits


def test_a_teacher_that_is_not_finite_is_named(tmp_path: Path) -> None:
    with pytest.raises(StkdError, match="teacher's logits are NaN or infinite for images of epoch 1") as said:
        package.distill(Overflowing(), "cnn2", "digits", "kd", out=tmp_path / "run", **{**SMALL, "preflight": "off"})
    assert "--lr" not in str(said.value)


def test_a_given_teacher_of_nan_weights_is_refused_before_a_step(tmp_path: Path) -> None:
    teacher = models.create("cnn4", num_classes=10, in_channels=1)
    with torch.no_grad():
        next(teacher.parameters())[0] = float("nan")
    with pytest.raises(StkdError, match="answers a black image with NaN"):
        package.distill(teacher, "cnn2", "digits", "kd", out=tmp_path / "run", **SMALL)
    assert not list(tmp_path.rglob("*.pt"))


def test_learning_rate_without_measure(tmp_path: Path, stkd: Any) -> None:
    answer = stkd(
        *["train", "--data", "digits", "--model", "cnn2", "--lr", "1e30", "--precision", "32", "--epochs", "2"],
        *["--out", tmp_path / "run"],
    )
    assert answer.code == 2
    assert "became NaN or infinite at epoch 1, step" in answer.err
    assert "there is no checkpoint yet" in answer.err
    assert "--lr (now 1e+30), --clip-norm 1" in answer.err
    assert not list(tmp_path.rglob("*.pt"))


def test_last_step_may_spoil_the_weights(tmp_path: Path) -> None:
    """One step an epoch: its loss is finite, the weights after it are not."""

    class Spoilt(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = super().forward(x.flatten(1))
            if self.training:
                out.register_hook(lambda grad: grad * float("nan"))
            return out

    options = SMALL | {"batch_size": 160}
    with pytest.raises(package.StkdError, match="the weights became NaN or infinite at epoch 1, step 1; there is no"):
        package.train(Spoilt(64, 10), "digits", out=tmp_path / "run", **options)
    assert not list(tmp_path.rglob("last.pt"))


def test_best_only_where_a_validation_split_exists(tmp_path: Path) -> None:
    without = package.train("cnn2", "digits", out=tmp_path / "without", **SMALL)
    assert without.scores["best_on_validation"] is None
    assert "val" not in without.scores
    assert not (tmp_path / "without" / "checkpoints" / "best.safetensors").exists()

    found = package.train("cnn2", "digits", out=tmp_path / "with", val_fraction=0.2, **SMALL)
    rows = [json.loads(line) for line in (tmp_path / "with" / "metrics.jsonl").read_text().splitlines()]
    top1 = [row["val_top1"] for row in rows]
    assert found.scores["best_on_validation"]["epoch"] == 1 + top1.index(max(top1))
    best = models.create("cnn2", num_classes=10, in_channels=1)
    weights.load(best, tmp_path / "with" / "checkpoints" / "best.safetensors")
    data = open_data("digits", val_fraction=0.2, train_images=160)
    assert data.val is not None
    assert score(best, data.val, data, device=torch.device("cpu"))["top1"] == max(top1)


def test_result_is_of_the_last_epoch_and_of_the_saved_weights(tmp_path: Path) -> None:
    result = package.train("cnn2", "digits", out=tmp_path / "run", ema=0.5, **SMALL)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    recorded = json.loads((tmp_path / "run" / "result.json").read_text())
    assert recorded == result.scores
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert recorded["test"] == {"top1": rows[-1]["test_top1"], "nll": rows[-1]["test_nll"]}
    data = open_data("digits", train_images=160)
    assert data.test is not None
    for file, expected in (("model", recorded["test"]), ("model_ema", recorded["ema"]["test"])):
        model = models.create("cnn2", num_classes=10, in_channels=1)
        weights.load(model, tmp_path / "run" / f"{file}.safetensors")
        assert score(model, data.test, data, device=torch.device("cpu")) == pytest.approx(expected)
    assert recorded["images_seen"] == 3 * 160
    assert recorded["teacher_passes"] == 0


def test_ema_follows_the_weights(tmp_path: Path) -> None:
    """Decay d: ema = d ema + (1 - d) weights, after each step, from the weights of the first step on."""
    result = package.train("cnn2", "digits", out=tmp_path / "run", ema=0.0, **SMALL)
    assert result.scores["ema"]["test"] == pytest.approx(result.scores["test"])


def test_loss_falls_and_evaluation_follows_its_interval(tmp_path: Path) -> None:
    package.train("cnn4", "digits", out=tmp_path / "run", eval_every=3, **SMALL | {"epochs": 7, "train_images": 640})
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows if "test_top1" in row] == [3, 6, 7]
    assert rows[-1]["train_loss"] < 0.5 * rows[0]["train_loss"]


def test_clipping_and_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    norms = []
    step = torch.optim.SGD.step

    def noted(self: torch.optim.SGD, *args: Any, **options: Any) -> Any:
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(float(torch.nn.utils.get_total_norm([g for g in gradients if g is not None])))
        return step(self, *args, **options)

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    package.train("cnn2", "digits", out=tmp_path / "run", clip_norm=0.01, **SMALL)
    assert len(norms) == 30
    assert max(norms) <= 0.01 * (1 + 1e-4)


def test_same_seed_same_weights_other_seed_others(tmp_path: Path) -> None:
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.manual_seed(len(out) + seed)
        package.train("cnn2", "digits", out=tmp_path / out, seed=seed, **SMALL)
    a, b, c = ((tmp_path / out / "model.safetensors").read_bytes() for out in "abc")
    assert a == b != c
