"""Every registered method, a new one included, on pairs of all kinds: it learns, and touches only what is its own."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

import stkd
from stkd import models
from stkd.data import open_data
from stkd.data.base import DataSet, Split
from stkd.data.loader import Batch
from stkd.methods import Method, methods, parse
from stkd.models.files import ModelInfo, read_info
from stkd.teachers import LiveTeacher
from stkd.training import learner
from stkd.training import student as student_module
from stkd.training.step import Step

SPECS = {"crd": "crd:negatives=16"}
"""Options that make a method small enough for a test."""

METHODS = [SPECS.get(entry.name, entry.name) for entry in methods.entries()]
WITH_EXTRAS = [m for m in METHODS if type(parse(m)).build is not Method.build] + ["crd:negatives=8+vid"]
TWO_STAGES = [spec for spec in METHODS if parse(spec).preparation > 0]
MIXES = {
    "mixup": {"mix": "mixup"},
    "cutmix": {"mix": "cutmix", "per_sample": True},
    "three": {"mix": "mixup", "instances": 3},
}


def coloured(size: int, images: int = 64) -> DataSet:
    """Noise on one of four colourful patterns, which a network learns in a few steps."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 200, (4, 3, size, size))
    labels = np.arange(images) % 4
    pixels = (patterns[labels] + rng.integers(0, 56, (images, 3, size, size))).astype(np.uint8)
    split = Split(pixels, labels.astype(np.int64))
    test = Split(pixels[:8], split.labels[:8])
    statistics = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    return DataSet("coloured", ("a", "b", "c", "d"), 3, size, *statistics, "none", split, None, test, f"coloured{size}")


@dataclass(frozen=True)
class Pair:
    """A teacher, untrained, a student by name, and images for both."""

    teacher: str
    student: str
    data: DataSet
    options: dict[str, Any] = field(default_factory=dict)

    def open_teacher(self) -> nn.Module:
        torch.manual_seed(7)
        size = self.options.get("teacher_size", self.data.size)
        return models.create(
            self.teacher, num_classes=len(self.data.classes), in_channels=self.data.channels, image_size=size
        )

    def untrained_student(self) -> nn.Module:
        """As a run with seed 0 starts."""
        torch.manual_seed(0)
        return models.create(
            self.student,
            num_classes=len(self.data.classes),
            in_channels=self.data.channels,
            image_size=self.data.size,
        )


def tiny(method: str) -> Pair:
    teacher = "cnn4" if method == "fsp" else "cnn16"  # fsp compares stages of equal width
    return Pair(teacher, "cnn4", open_data("digits", train_images=64))


def cifar(_: str) -> Pair:
    return Pair("resnet20", "resnet8", coloured(16))


def timm(_: str) -> Pair:
    """Stages of other widths and of other sizes: 12, 6, 3, 2 pixels for the teacher, 16, 8, 4, 2 for the student."""
    return Pair("timm/resnet18", "timm/mobilenetv3_small_050", coloured(32, 16), {"teacher_size": 48})


@dataclass
class Run:
    """What a run did."""

    teacher: nn.Module
    before: dict[str, Tensor]
    out: Path
    extras: nn.Module | None = None
    gradients: dict[str, float] = field(default_factory=dict)

    @property
    def rows(self) -> list[dict[str, float]]:
        return [json.loads(line) for line in (self.out / "metrics.jsonl").read_text().splitlines()]


Distil = Callable[..., Run]


@pytest.fixture
def distil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Distil:
    """Runs a method on a pair and notes the largest gradient of every extra parameter."""

    def call(pair: Pair, method: str, out: str = "run", **options: Any) -> Run:
        teacher = pair.open_teacher()
        run = Run(teacher, {k: v.clone() for k, v in teacher.state_dict().items()}, tmp_path / out)
        attach = student_module.attach

        def attached(*args: Any) -> Any:
            watch, run.extras = attach(*args)
            for name, parameter in run.extras.named_parameters() if run.extras is not None else ():
                parameter.register_post_accumulate_grad_hook(lambda p, name=name: note(name, p))
            return watch, run.extras

        def note(name: str, parameter: Tensor) -> None:
            assert parameter.grad is not None
            run.gradients[name] = max(run.gradients.get(name, 0.0), parameter.grad.abs().max().item())

        given = {
            "batch_size": 16,
            "lr": 0.02,
            "precision": "32",
            "accelerator": "cpu",
            "augment": "none",
            "eval_every": 9,
        }
        with monkeypatch.context() as patch:
            patch.setattr(student_module, "attach", attached)
            stkd.distill(teacher, pair.student, pair.data, method, out=run.out, **{**given, **pair.options, **options})
        return run

    return call


def unchanged(run: Run) -> bool:
    after = run.teacher.state_dict()
    same = all(torch.equal(after[name], tensor) for name, tensor in run.before.items())
    return same and all(p.grad is None for p in run.teacher.parameters())


def check_weights(run: Run, pair: Pair) -> None:
    info = read_info(run.out / "student.safetensors")
    assert info is not None
    assert info.model.removeprefix("simkd/").startswith(pair.student)
    named = models.create(
        info.model, num_classes=len(info.classes), in_channels=info.channels, image_size=pair.data.size
    )
    with safe_open(run.out / "student.safetensors", "pt") as file:
        assert set(file.keys()) == set(named.state_dict())


def check_gradients(run: Run) -> None:
    """All extra parameters are learned."""
    expected = {name for name, _ in run.extras.named_parameters()} if run.extras is not None else set()
    assert set(run.gradients) == expected
    # The bias of a convolution before a batch norm has no influence.
    assert all(largest > 0 for name, largest in run.gradients.items() if not name.endswith("bias"))
    assert all(math.isfinite(largest) for largest in run.gradients.values())


@pytest.mark.parametrize("make", [tiny, cifar])
@pytest.mark.parametrize("method", METHODS)
def test_learns(method: str, make: Callable[[str], Pair], distil: Distil) -> None:
    pair = make(method)
    run = distil(pair, method, epochs=6)
    first_stage = parse(method).first_stage_epochs(6)
    losses = [row["train_loss"] for row in run.rows]
    assert losses[-1] < losses[first_stage]
    labelled = parse(method).label_weight > 0
    assert all(("train_ce" in row) is (labelled and i >= first_stage) for i, row in enumerate(run.rows))
    assert unchanged(run)
    check_gradients(run)
    check_weights(run, pair)


@pytest.mark.parametrize("method", METHODS)
def test_two_steps_of_other_architectures(method: str, distil: Distil) -> None:
    pair = timm(method)
    if method == "fsp":
        with pytest.raises(stkd.StkdError, match="the student has 16 channels where the teacher has 64"):
            distil(pair, method, epochs=2)
        return
    run = distil(pair, method, epochs=2, batch_size=8)
    assert unchanged(run)
    check_gradients(run)
    check_weights(run, pair)


@pytest.mark.parametrize("method", [method for method in METHODS if parse(method).needs - {"pooled"}])
def test_tokens_are_refused(method: str, distil: Distil) -> None:
    """A transformer has no maps; methods that compare maps say so."""
    pair = Pair("timm/test_vit", "cnn4", coloured(32, 16))
    with pytest.raises(stkd.StkdError, match="VisionTransformer has no maps in its stages but tokens") as caught:
        distil(pair, method, epochs=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("method", [method for method in METHODS if parse(method).needs == {"pooled"}])
def test_transformers_teach_by_pooled_features(method: str, distil: Distil) -> None:
    pair = Pair("timm/test_vit", "cnn4", coloured(32, 16))
    assert unchanged(distil(pair, method, epochs=1))


def test_channels_last_are_understood() -> None:
    """Stages of a Swin transformer are (B, H, W, C)."""
    data = coloured(64, 16)
    swin = SwinTransformer(64, window_size=8, embed_dim=8, depths=(2, 2), num_heads=(1, 1), num_classes=4)
    teacher = LiveTeacher(swin, ModelInfo("swin", data.classes, 3, 64, data.mean, data.std), data)
    student = models.create("cnn4", num_classes=4, in_channels=3, image_size=64)
    watch, _ = student_module.attach(parse("at"), student, teacher, data, torch.from_numpy(data.train.labels))
    assert watch is not None
    for model in (student, teacher.logits):
        model(torch.zeros(2, 3, 64, 64))
    _, taught = watch.take()
    assert [tuple(stage.shape) for stage in taught.stages] == [(2, 8, 16, 16), (2, 16, 8, 8)]


@pytest.mark.parametrize("method", METHODS)
def test_half_precision(method: str, distil: Distil) -> None:
    run = distil(tiny(method), method, epochs=2, precision="bf16")
    assert all(math.isfinite(value) for row in run.rows for value in row.values())


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("method", METHODS)
def test_virtual_samples(method: str, mix: str, distil: Distil) -> None:
    """Either a method takes them, or it says in one line what to do."""
    if parse(method).real_rows:
        with pytest.raises(stkd.StkdError, match="keep real ones with --beside true") as caught:
            distil(tiny(method), method, epochs=2, **MIXES[mix])
        assert "\n" not in str(caught.value)
        return
    run = distil(tiny(method), method, epochs=2, **MIXES[mix])
    assert unchanged(run)
    check_gradients(run)


@pytest.mark.parametrize("method", WITH_EXTRAS)
def test_resumes(method: str, distil: Distil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"epochs": 4, "checkpoint_minutes": 1e-9}

    def killed_after(steps: int) -> None:
        train_step, made = Step.__call__, 0

        def counted(step: Step, batch: Batch) -> None:
            nonlocal made
            if made == steps:
                raise KeyboardInterrupt
            train_step(step, batch)
            made += 1

        with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
            patch.setattr(Step, "__call__", counted)
            distil(tiny(method), method, "parts", **options)

    whole = distil(tiny(method), method, "whole", **options)
    for steps in (2, 5):  # in the first epoch, which is the first stage of some, and in the second
        killed_after(steps)
    parts = distil(tiny(method), method, "parts", **options)
    assert len(parts.rows) == 4
    assert (parts.out / "student.safetensors").read_bytes() == (whole.out / "student.safetensors").read_bytes()


@pytest.mark.parametrize("method", TWO_STAGES)
def test_first_stage(method: str, distil: Distil, monkeypatch: pytest.MonkeyPatch) -> None:
    """No labels yet; where the student takes no part, it does not change."""
    weights: list[dict[str, Tensor]] = []
    end_epoch = learner.Learner.end_epoch

    def kept(student: learner.Learner) -> None:
        weights.append({name: p.detach().clone() for name, p in student.state.student.named_parameters()})
        end_epoch(student)

    monkeypatch.setattr(learner.Learner, "end_epoch", kept)
    pair = tiny(method)
    run = distil(pair, f"{method}:preparation=0.5", epochs=4)
    first, second = run.rows[:2], run.rows[2:]
    assert all("train_ce" not in row for row in first)
    assert all("train_ce" in row for row in second)
    assert first[1]["train_loss"] < first[0]["train_loss"]
    start = {name: p.detach() for name, p in pair.untrained_student().named_parameters()}
    moved = {name for name, p in weights[1].items() if not torch.equal(p, start[name])}
    assert moved == (set() if method == "ft" else set(start) - {"fc.weight", "fc.bias"})


def test_a_first_stage_is_never_left_out() -> None:
    ft = parse("ft")
    assert [ft.first_stage_epochs(epochs) for epochs in (2, 3, 8, 240)] == [1, 1, 1, 30]
    assert parse("ft:preparation=1").first_stage_epochs(10) == 9
    assert parse("ft:preparation=0").first_stage_epochs(1) == parse("kd").first_stage_epochs(1) == 0
    with pytest.raises(stkd.StkdError, match="two stages and needs --epochs 2"):
        ft.first_stage_epochs(1)


@pytest.mark.parametrize("options", [{"beside": True}, {"real": 0.5}], ids=["beside", "share"])
def test_crd_remembers_real_images_alone(
    options: dict[str, Any], distil: Distil, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memories that move are those of the images that the real rows show, and of no other."""
    train_step = Step.__call__
    pair = tiny("crd")
    mean, std = (torch.tensor(v).view(1, -1, 1, 1) for v in (pair.data.mean, pair.data.std))
    steps = 0

    def watched(step: Step, batch: Batch) -> None:
        nonlocal steps
        steps += 1
        assert step.state.extras is not None
        memory = step.state.extras["memory"]
        before = [bank.clone() for bank in (memory.student_bank, memory.teacher_bank)]
        train_step(step, batch)
        shown = batch.index[: batch.real]
        pixels = torch.from_numpy(np.array(pair.data.train.images))[shown].float()
        torch.testing.assert_close(batch.images[: batch.real], (pixels / 255 - mean) / std)
        for bank, old in zip((memory.student_bank, memory.teacher_bank), before, strict=True):
            moved = (bank != old).any(1).nonzero().flatten()
            assert moved.tolist() == sorted(shown.tolist())
        assert batch.real == (16 if "beside" in options else 8)

    monkeypatch.setattr(Step, "__call__", watched)
    distil(pair, "crd:negatives=16", mix="mixup", epochs=2, **options)
    assert steps == 8


def test_crd_without_a_real_row(distil: Distil) -> None:
    with pytest.raises(stkd.StkdError, match="no row of a batch stays real; raise --real"):
        distil(tiny("crd"), "crd:negatives=16", mix="mixup", real=0.01, epochs=1)


def test_classifier_of_the_teacher_is_used_without_its_taps(distil: Distil, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a step the taps of the teacher hold nothing: they saw no features of the student."""
    step_of = Step.__call__
    tapped = []

    def watched(step: Step, batch: Batch) -> None:
        step_of(step, batch)
        teacher = step.student.teacher
        assert isinstance(teacher, LiveTeacher)
        hooks = [hook for module in teacher.module.modules() for hook in module._forward_pre_hooks.values()]
        held = [cell.cell_contents for hook in hooks for cell in hook.__closure__ or ()]
        tapped.extend(hooks)
        assert all(not features for features in held if isinstance(features, dict))

    monkeypatch.setattr(Step, "__call__", watched)
    distil(tiny("srrl"), "srrl", epochs=1)
    assert tapped
