"""What can be seen of recorded steps without a GPU: the same weights, no wait for the device, nothing on the host."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import stkd
from stkd import models
from stkd.methods import methods
from stkd.training import learner
from stkd.training.cuda_graph import CapturedStep
from stkd.training.step import Step

OPTIONS: dict[str, Any] = {
    "train_images": 256,
    "epochs": 3,
    "batch_size": 32,
    "lr": 0.05,
    "precision": "32",
    "cuda_graph": True,
}
WAITING = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal"}
"""Operations whose result the host has to know before it goes on."""


class NoWaiting(TorchDispatchMode):
    """Refuses operations that would wait for a GPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1] if i is not None
        )
        if name in WAITING or masks:
            raise RuntimeError(f"{name} waits for the device")
        return func(*args, **(kwargs or {}))


class Tape:
    """Records by remembering the work, and does it again when it is played."""

    step: Step

    def __init__(self) -> None:
        self.warm, self.records, self.played = 0, 0, 0

    def warm_up(self, work: Callable[[], None]) -> None:
        self.warm += 1
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        self.records += 1
        if not all(isinstance(group["lr"], Tensor) for group in self.step.state.optimizer.param_groups):
            pytest.fail("a graph would hold the learning rate of its first step")

        def play() -> None:
            self.played += 1
            with NoWaiting():
                work()

        return play


@pytest.fixture
def tape(monkeypatch: pytest.MonkeyPatch) -> Tape:
    """Runs record their steps here."""
    made = Tape()
    monkeypatch.setattr("stkd.training.optim._on_cuda", lambda _: True)

    def allow(step: Step) -> None:
        made.step = step

    monkeypatch.setattr(learner, "check_capture", allow)
    monkeypatch.setattr(learner, "CudaGraph", lambda: made)
    return made


@pytest.fixture
def teacher() -> torch.nn.Module:
    torch.manual_seed(0)
    return models.create("cnn4", num_classes=10, in_channels=1, image_size=8)


def weights(run: stkd.Result) -> dict[str, Tensor]:
    found: dict[str, Tensor] = load_file(run.out / "student.safetensors")
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"schedule": "cosine", "nesterov": True, "warmup_epochs": 1, "ema": 0.9},
        {"clip_norm": 0.5, "label_smoothing": 0.1, "beside": True},
        {"mix": "cutmix", "instances": 3, "per_sample": True},
    ],
    ids=["plain", "schedule", "clipped", "cutmix"],
)
def test_recorded_steps_give_the_same_weights(
    options: dict[str, Any], tape: Tape, teacher: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = stkd.distill(teacher, "cnn4", "digits", out=tmp_path / "a", **OPTIONS, **options)
    assert (tape.warm, tape.records, tape.played) == (3 + 1 + 1, 3, 3 * 8 - 5)
    plain = stkd.distill(teacher, "cnn4", "digits", out=tmp_path / "b", **OPTIONS | {"cuda_graph": False}, **options)
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(recorded)[name], value, rtol=1e-5, atol=1e-6, msg=name)
    for scores in ("train_accuracy", "images_seen"):
        assert recorded.scores[scores] == pytest.approx(plain.scores[scores])


SPECS = {"crd": "crd:negatives=16"}
METHODS = [SPECS.get(entry.name, entry.name) for entry in methods.entries()]


@pytest.mark.parametrize("method", METHODS)
def test_no_method_waits_or_counts_on_the_host(
    method: str, tape: Tape, teacher: torch.nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Step] = []
    change = CapturedStep._change

    def watched(self: CapturedStep, batch: Any) -> None:
        before = _on_host(self.step)
        change(self, batch)
        assert _on_host(self.step) == before
        seen.append(self.step)

    monkeypatch.setattr(CapturedStep, "_change", watched)
    always = {"mix_until": 1.0}  # a graph holds one kind of step
    stkd.distill(teacher, "cnn4", "digits", method, out=tmp_path / "run", **OPTIONS, **always)
    assert len(seen) == 3 * 8
    assert tape.played == 3 * 8 - 5


def _on_host(step: Step) -> list[object]:
    state = step.state
    return [state.scheduler.last_epoch, state.meter.rows, state.meter.steps, state.step, state.epoch]


def test_goes_on_as_it_is_where_recording_fails(
    teacher: torch.nn.Module,
    tape: Tape,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(work: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    monkeypatch.setattr(tape, "record", refuse)
    failed = stkd.distill(teacher, "cnn4", "digits", out=tmp_path / "a", **OPTIONS)
    assert caplog.messages[0].endswith("(operation not permitted when stream is capturing)")
    plain = stkd.distill(teacher, "cnn4", "digits", out=tmp_path / "b", **OPTIONS | {"cuda_graph": False})
    for name, value in weights(plain).items():
        assert torch.equal(weights(failed)[name], value), name


def test_interrupted_recorded_runs_resume_to_the_same_weights(
    teacher: torch.nn.Module, tape: Tape, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {**OPTIONS, "schedule": "cosine", "checkpoint_minutes": 1e-9}
    whole = stkd.distill(teacher, "cnn4", "digits", out=tmp_path / "a", **options)

    count = Step.count
    calls = 0

    def dies(self: Step, rows: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 13:
            raise KeyboardInterrupt
        count(self, rows)

    monkeypatch.setattr(Step, "count", dies)
    with pytest.raises(KeyboardInterrupt):
        stkd.distill(teacher, "cnn4", "digits", out=tmp_path / "b", **options)
    resumed = stkd.distill(teacher, "cnn4", "digits", out=tmp_path / "b", **options)
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(resumed)[name], value, rtol=1e-5, atol=1e-6, msg=name)
