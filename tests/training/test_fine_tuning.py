"""Models that start from trained weights: their defaults, a frozen start, learning rates by layer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from torch import Tensor

import stkd
from stkd import models
from stkd.core.config import CheckConfig, DistillConfig, TrainConfig, build
from stkd.core.errors import StkdError
from stkd.data import open_data
from stkd.models.files import ModelInfo, save_model
from stkd.training.optim import make_optimizer, make_schedule
from stkd.training.parameter_groups import layered
from stkd.training.trainer import Learner

SHORT: dict[str, Any] = {"epochs": 3, "train_images": 120, "batch_size": 30, "precision": "32", "accelerator": "cpu"}
TUNED = {"optimizer": "adamw", "lr": 5e-4, "weight_decay": 0.05, "warmup_epochs": 0.5, "schedule": "cosine"}
PLAIN = {"optimizer": "sgd", "lr": None, "weight_decay": 5e-4, "warmup_epochs": 0.0, "schedule": "cosine"}


def of(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in TUNED}


def train(start: Path, out: Path, **options: Any) -> dict[str, Tensor]:
    stkd.train("cnn4", "digits", out=out, weights=start, **{**SHORT, **options})
    return load_file(out / "model.safetensors")


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize(
    ("config", "options", "expected"),
    [
        (TrainConfig, {"pretrained": True}, TUNED),
        (TrainConfig, {"weights": Path("run")}, TUNED),
        (DistillConfig, {"student_pretrained": True}, TUNED),
        (DistillConfig, {"student_weights": Path("run")}, TUNED),
        (DistillConfig, {"teacher_pretrained": True}, PLAIN),
        (TrainConfig, {}, PLAIN),
        (TrainConfig, {"pretrained": True, "weight_decay": 0.1}, {**TUNED, "weight_decay": 0.1}),
        (TrainConfig, {"pretrained": True, "warmup_epochs": 2.0, "epochs": 9}, {**TUNED, "warmup_epochs": 2.0}),
        (TrainConfig, {"pretrained": True, "optimizer": "sgd"}, PLAIN),
        (TrainConfig, {"pretrained": True, "lr": 0.1}, {**PLAIN, "lr": 0.1}),
        (TrainConfig, {"pretrained": True, "nesterov": True}, PLAIN),
        (CheckConfig, {"student_pretrained": True}, PLAIN),
    ],
)
def test_defaults(config: Any, options: dict[str, Any], expected: dict[str, Any]) -> None:
    name = "model" if config is TrainConfig else "student"
    assert of(build(config, {"data": "digits", name: "cnn2", "out": Path("run"), **options})) == expected


def test_they_are_kept_with_the_run_which_can_be_lengthened(teacher_run: Path, tmp_path: Path) -> None:
    train(teacher_run, tmp_path / "run", epochs=1)
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert {name: config[name] for name in TUNED} == TUNED
    train(teacher_run, tmp_path / "run", epochs=2)
    with pytest.raises(StkdError, match="was started with optimizer=adamw, now optimizer=sgd"):
        train(teacher_run, tmp_path / "run", epochs=2, optimizer="sgd")


def test_a_run_of_an_earlier_version_goes_on_as_it_was_begun(teacher_run: Path, tmp_path: Path, killed_at: Any) -> None:
    whole = train(teacher_run, tmp_path / "whole", optimizer="sgd", weight_decay=0.001)
    with killed_at(6):
        train(teacher_run, tmp_path / "run", optimizer="sgd", weight_decay=0.001)
    file = tmp_path / "run" / "config.yaml"
    before = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump({n: v for n, v in before.items() if n not in ("freeze", "layer_decay")}))
    (tmp_path / "run" / "manifest.json").unlink()  # which it did not write either
    assert same(train(teacher_run, tmp_path / "run", weight_decay=0.001), whole)


def test_a_run_of_before_there_was_norm_keeps_its_normalisation(tmp_path: Path, killed_at: Any) -> None:
    start = ModelInfo("cnn4", tuple("0123456789"), 1, 8, (0.1,), (0.7,))
    save_model(models.create("cnn4", num_classes=10, in_channels=1), tmp_path / "x.safetensors", start)
    whole = train(tmp_path / "x.safetensors", tmp_path / "whole", norm="data")
    with killed_at(6):
        train(tmp_path / "x.safetensors", tmp_path / "run", norm="data")
    file = tmp_path / "run" / "config.yaml"
    file.write_text(yaml.safe_dump({n: v for n, v in yaml.safe_load(file.read_text()).items() if n != "norm"}))
    (tmp_path / "run" / "manifest.json").unlink()
    assert same(train(tmp_path / "x.safetensors", tmp_path / "run"), whole)
    assert not same(train(tmp_path / "x.safetensors", tmp_path / "new"), whole)
    assert stkd.load(tmp_path / "new")[1].mean == (0.1,)


def test_a_frozen_start(teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[dict[str, Tensor]] = []
    end_epoch = Learner.end_epoch

    def ended(learner: Learner) -> None:
        kept.append({name: tensor.clone() for name, tensor in learner.state.student.state_dict().items()})
        end_epoch(learner)

    monkeypatch.setattr(Learner, "end_epoch", ended)
    train(teacher_run, tmp_path / "run", freeze=2)
    start = load_file(teacher_run / "model.safetensors")
    for epoch in (0, 1):
        changed = {name for name in start if not torch.equal(start[name], kept[epoch][name])}
        assert changed == {"fc.weight", "fc.bias"}
    assert not torch.equal(kept[2]["block1.0.weight"], start["block1.0.weight"])
    assert not torch.equal(kept[2]["block1.1.running_mean"], start["block1.1.running_mean"])


@pytest.mark.parametrize(("step", "optimizer"), [(2, "adamw"), (4, "sgd"), (7, "sgd")])
def test_a_frozen_start_resumes_bit_for_bit(
    step: int, optimizer: str, teacher_run: Path, tmp_path: Path, killed_at: Any
) -> None:
    options: dict[str, Any] = {"freeze": 1, "optimizer": optimizer, "lr": 0.01, "checkpoint_minutes": 1e-9}
    whole = train(teacher_run, tmp_path / "whole", **options)
    with killed_at(step):
        train(teacher_run, tmp_path / "run", **options)
    assert same(train(teacher_run, tmp_path / "run", **options), whole)


def test_what_cannot_be_frozen(tmp_path: Path) -> None:
    with pytest.raises(StkdError, match=r"freeze \(3\) must be less than epochs \(3\); 'stkd probe' fits"):
        stkd.train("cnn2", "digits", out=tmp_path / "a", freeze=3, **SHORT)
    data = open_data("digits")
    flat = torch.nn.Sequential(torch.nn.Conv2d(1, 10, data.size), torch.nn.Flatten())
    with pytest.raises(StkdError, match="Sequential has no linear one"):
        stkd.train(flat, "digits", out=tmp_path / "b", freeze=1, **SHORT)


def test_learning_rates_by_layer() -> None:
    model = models.create("timm/test_resnet", num_classes=3)
    extras = torch.nn.Linear(2, 2)
    groups = layered(model, extras, lr=0.1, weight_decay=0.05, decay=0.5)
    rates = {id(p): group["lr"] for group in groups for p in group["params"]}
    decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    every = [*model.parameters(), *extras.parameters()]
    assert sorted(rates) == sorted(map(id, every))
    named = dict(model.named_parameters())
    assert rates[id(named["fc.weight"])] == rates[id(extras.weight)] == 0.1
    ordered = [rates[id(p)] for name, p in named.items() if name.endswith("conv1.weight")]
    assert ordered == sorted(ordered)
    assert len(set(ordered)) > 2
    assert all(rate == pytest.approx(0.1 * 0.5 ** round(torch.tensor(0.1 / rate).log2().item())) for rate in ordered)
    assert decays[id(named["fc.bias"])] == decays[id(named["bn1.weight"])] == 0
    assert decays[id(named["fc.weight"])] == 0.05


@pytest.mark.parametrize("schedule", ["cosine", "onecycle", "multistep"])
def test_every_layer_follows_the_schedule(schedule: str) -> None:
    given = TrainConfig(data="digits", model="cnn2", out=Path("run"), epochs=4, schedule=schedule)  # type: ignore
    model = models.create("timm/test_resnet", num_classes=3)
    optimizer = make_optimizer(given, layered(model, None, 0.1, 0.05, 0.5), 0.1)
    peaks = [group["lr"] for group in optimizer.param_groups]
    plan = make_schedule(given, optimizer, 3)
    for _ in range(12):
        rates = [group["lr"] for group in optimizer.param_groups]
        shares = [rate / peak for rate, peak in zip(rates, [0.1 * p / max(peaks) for p in peaks], strict=True)]
        assert shares == pytest.approx([shares[0]] * len(shares), rel=1e-6)
        optimizer.step()
        plan.step()


@pytest.mark.slow
def test_layers_train_and_resume_and_are_lengthened(tmp_path: Path, killed_at: Any) -> None:
    options: dict[str, Any] = {**SHORT, "layer_decay": 0.6, "image_size": 32, "epochs": 2, "eval_every": 2}
    model = "timm/test_resnet"
    stkd.train(model, "digits", out=tmp_path / "whole", **options)
    with killed_at(3):
        stkd.train(model, "digits", out=tmp_path / "run", **options)
    stkd.train(model, "digits", out=tmp_path / "run", **options)
    files = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "run")]
    assert same(*files)
    done = stkd.train(model, "digits", out=tmp_path / "run", **{**options, "epochs": 3})
    assert done.scores["epochs"] == 3
    assert "layer-wise decay 0.6" in (tmp_path / "run" / "README.md").read_text()


def test_layers_of_other_models_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(StkdError, match="--layer-decay is for models of timm, and TinyCNN is none; leave it out"):
        stkd.train("cnn2", "digits", out=tmp_path / "a", layer_decay=0.7, **SHORT)
    with pytest.raises(StkdError, match=r"layer_decay must be above 0 and at most 1, got 1\.5"):
        stkd.train("cnn2", "digits", out=tmp_path / "a", layer_decay=1.5, **SHORT)


@pytest.mark.usefixtures("preflight")
def test_the_probe_to_beat_is_fitted_and_named(
    teacher_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "stkd")
    train(teacher_run, tmp_path / "run", epochs=1)
    assert "cnn4 starts from trained weights: AdamW at 0.0005, weight decay 0.05, warm-up of 0.5 epochs" in caplog.text
    command = f"'stkd probe --data digits --teacher cnn4 --teacher-weights {teacher_run} --out DIR'"
    probe = stkd.probe(teacher_run, "digits", out=tmp_path / "probe", train_images=120, accelerator="cpu")
    right = probe.record["test"]["top1"]
    found = {"split": "test", "images": 500, "top1": right}
    assert (
        f"a head fitted on its features as they are is right on {100 * right:.1f} % of 500 test images" in caplog.text
    )
    assert f"better begin with one ({command}, then --weights DIR)" in caplog.text
    for file, place in (("preflight.json", "facts"), ("result.json", None)):
        kept = json.loads((tmp_path / "run" / file).read_text())
        assert (kept[place] if place else kept)["probe"] == found
    card = (tmp_path / "run" / "README.md").read_text()
    assert (
        f"A head fitted on the features that it began with is right on {100 * right:.2f} % of the test images" in card
    )
    assert str(tmp_path) not in card
    train(tmp_path / "probe", tmp_path / "from_probe", epochs=1)
    begins = f"it begins as the probe {tmp_path / 'probe'}, right on {100 * right:.1f} % of 500 test images: end no"
    assert begins in caplog.text


@pytest.mark.usefixtures("preflight")
@pytest.mark.parametrize("begins", ["weights", "probe"])
def test_one_that_ends_below_its_probe_is_warned_of(
    begins: str, teacher_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if begins == "probe":
        stkd.probe(teacher_run, "digits", out=tmp_path / "probe", train_images=120, accelerator="cpu")
    start = {"probe": tmp_path / "probe", "weights": teacher_run}[begins]
    train(start, tmp_path / "run", epochs=1, lr=1.0, val_fraction=0.3)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["probe"]["split"] == "val"
    assert result["val"]["top1"] < result["probe"]["top1"]
    (line,) = [record.message for record in caplog.records if "the fine-tuned model is right on" in record.message]
    assert f" % of {result['images']['val']} validation images, " in line
    own = "the probe that it began as" if begins == "probe" else "a head fitted on the features that it began with"
    assert f"{own} is right on {100 * result['probe']['top1']:.1f} %" in line


@pytest.mark.usefixtures("preflight")
def test_no_probe_where_none_can_be_fitted(tmp_path: Path) -> None:
    """A network that ends in a convolution has no features before a classifier."""
    whole = torch.nn.Sequential(torch.nn.Conv2d(1, 10, 8), torch.nn.Flatten())
    torch.save(whole.state_dict(), tmp_path / "start.pth")
    done = stkd.train(whole, "digits", out=tmp_path / "run", weights=tmp_path / "start.pth", **{**SHORT, "epochs": 1})
    assert "probe" not in done.scores
