"""Evaluation sees photos as the published weights that a model starts from were evaluated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save_file

from stkd import load, train
from stkd.core.config import CacheConfig, DistillConfig, TrainConfig
from stkd.core.errors import StkdError
from stkd.data import open_data
from stkd.data.selection import data_of
from stkd.models import create, hub
from stkd.models.files import ModelInfo, load_model, read_info, save_model
from stkd.runs.evaluation import read_evaluation
from stkd.runs.finished_run import open_run
from stkd.runs.prediction import predict_images
from stkd.training.group_options import configs_of

NAME = "timm/test_resnet.r160_in1k"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of 10 photos of 90 x 80 pixels, one of them with its colour in the middle alone."""
    rng = np.random.default_rng(0)
    for name, most in (("cat", 60), ("dog", 255)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(10):
            pixels = rng.integers(0, most, (80, 90, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{i}.png")
    return tmp_path / "photos"


def trains(data: str, **options: Any) -> TrainConfig:
    return TrainConfig(**{"data": data, "model": NAME, "out": Path("run"), "pretrained": True, **options})


def view(config: Any) -> tuple[float, str]:
    data = data_of(config)
    return data.crop_pct, data.interpolation


def test_of_published_weights(photos: Path) -> None:
    spec = f"folder:{photos}"
    cfg = timm.get_pretrained_cfg("test_resnet.r160_in1k")
    assert cfg.crop_pct < 1
    own = cfg.crop_pct, cfg.interpolation
    assert view(trains(spec)) == own
    assert view(trains(spec, image_size=96)) == own
    start = {"data": spec, "out": Path("run"), "student": NAME, "student_pretrained": True}
    assert view(DistillConfig(**start)) == own
    assert view(CacheConfig(**start)) == own
    assert view(trains(spec, model="torchvision/resnet18")) == (224 / 256, "bilinear")


def test_only_where_it_is_the_models_and_nobody_says_otherwise(photos: Path, pictures: Path) -> None:
    spec, plain = f"folder:{photos}", (1.0, "bilinear")
    assert view(trains(spec, pretrained=False)) == plain
    assert view(trains(spec, crop_pct=0.5)) == (0.5, "bilinear")
    assert view(trains(spec, interpolation="bicubic")) == (1.0, "bicubic")
    assert view(trains(spec, image_size=32)) == plain
    assert view(trains(f"folder:{pictures}")) == plain
    assert view(trains("digits")) == plain
    assert view(CacheConfig(data=spec, out=Path("run"), teacher=NAME, teacher_pretrained=True)) == plain


def test_normalised_as_the_weights_were(photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "stkd")
    spec = f"folder:{photos}"
    cfg, plain = timm.get_pretrained_cfg("test_resnet.r160_in1k"), open_data(spec)
    assert data_of(trains(spec)).mean == cfg.mean != plain.mean
    assert data_of(trains(spec)).std == cfg.std
    assert "images are normalised as the weights expect it, mean 0.5 0.5 0.5, std 0.5 0.5 0.5 (else: --" in caplog.text
    assert data_of(trains(spec, norm="data")).mean == pytest.approx(plain.mean, abs=0.01)  # of smaller squares
    assert data_of(trains(spec, pretrained=False)).mean == plain.mean
    assert data_of(trains(spec, pretrained=False, norm="inception")).std == (0.5,) * 3
    assert data_of(trains("digits")).mean == open_data("digits").mean  # of one channel
    own = ModelInfo("cnn2", ("cat", "dog"), 3, 32, (0.1, 0.2, 0.3), (0.7,) * 3)
    save_model(create("cnn2", num_classes=2), tmp_path / "x.safetensors", own)
    assert data_of(trains(spec, pretrained=False, weights=tmp_path / "x.safetensors")).mean == own.mean
    start = {"data": spec, "out": Path("run"), "student": "cnn2", "student_weights": tmp_path / "x.safetensors"}
    assert data_of(DistillConfig(**start)).std == own.std
    assert data_of(DistillConfig(**start, teacher=NAME, teacher_pretrained=True)).std == own.std
    torch.save(create("cnn2", num_classes=2).state_dict(), tmp_path / "x.pth")
    assert data_of(trains(spec, pretrained=False, weights=tmp_path / "x.pth")).mean == plain.mean


@pytest.mark.parametrize(
    ("data", "norm", "words"),
    [
        ("digits", "imagenet", "--norm imagenet is for 3 channels, digits has 1"),
        ("digits", "imagnet", "unknown normalisation 'imagnet'; did you mean imagenet"),
    ],
)
def test_normalisations_that_do_not_fit(data: str, norm: str, words: str) -> None:
    with pytest.raises(StkdError, match=words):
        data_of(trains(data, norm=norm))


def test_images_that_a_program_holds_are_normalised_alike(tmp_path: Path) -> None:
    start = ModelInfo("cnn2", ("0", "1"), 1, 8, (0.25,), (0.5,))
    save_model(create("cnn2", num_classes=2, in_channels=1), tmp_path / "x.safetensors", start)
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    options: dict[str, Any] = {"epochs": 1, "accelerator": "cpu", "weights": tmp_path / "x.safetensors"}
    for norm, expected in ((None, (0.25,)), ("data", (pytest.approx(images.mean() / 255, abs=0.05),))):
        train("cnn2", (images, np.arange(20) % 2), out=tmp_path / f"{norm}", norm=norm, **options)
        assert load(tmp_path / f"{norm}")[1].mean == expected


def test_students_of_one_pass_share_their_images() -> None:
    common = {"data": "digits", "out": Path("runs")}
    pretrained = {"student": NAME, "student_pretrained": True}
    alike = configs_of(common, {"a": pretrained, "b": {**pretrained, "seed": 1}})
    assert {config.crop_pct for config in alike.values()} == {None}
    mixed = configs_of(common, {"a": pretrained, "b": {"student": "cnn2"}})
    assert {(config.crop_pct, config.interpolation) for config in mixed.values()} == {(1.0, "bilinear")}
    assert {config.norm for config in alike.values()} == {None}
    assert {config.norm for config in mixed.values()} == {"data"}
    asked = configs_of({**common, "norm": "imagenet"}, {"a": pretrained, "b": {"student": "cnn2"}})
    assert {config.norm for config in asked.values()} == {"imagenet"}
    given = configs_of({**common, "crop_pct": 0.9}, {"a": pretrained, "b": {"student": "cnn2"}})
    assert {config.crop_pct for config in given.values()} == {0.9}


def test_a_run_is_evaluated_alike_ever_after(
    photos: Path, tmp_path: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "reachable", lambda url: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    place = tmp_path / "hub" / "models--timm--test_resnet.r160_in1k"
    (place / "snapshots" / "1").mkdir(parents=True)
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("1")
    save_file(timm.create_model("test_resnet").state_dict(), place / "snapshots" / "1" / "model.safetensors")
    run = tmp_path / "run"
    answer = stkd(
        *("train", "--data", f"folder:{photos}", "--image-size", 80, "--model", NAME, "--pretrained", "true"),
        *("--epochs", 1, "--batch-size", 8, "--workers", 0, "--precision", "32", "--accelerator", "cpu", "--out", run),
    )
    assert answer.code == 0, answer.err
    assert (
        "evaluation sees the images as the published weights do: --crop-pct 0.95 --interpolation bilinear" in answer.err
    )
    info = read_info(run / "model.safetensors")
    assert info is not None
    assert (info.crop_pct, info.interpolation) == (0.95, "bilinear")

    result = json.loads((run / "result.json").read_text())
    answer = stkd("evaluate", run, "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["nll"] == pytest.approx(result["test"]["nll"], rel=1e-4)
    assert "top1" in read_evaluation(run)

    data = open_run(run).data
    assert data.test is not None
    assert data.test.files is not None
    file = data.test.files.root / data.test.files.names[0]
    model, _ = load_model(run)
    pixels = torch.from_numpy(np.asarray(data.test.images)[:1].copy()).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (info.mean, info.std))
    with torch.no_grad():
        expected = model((pixels - mean) / std).softmax(1)[0]
    row = predict_images(run, [file], top=2)[0]["model"]
    assert {entry["class"]: entry["probability"] for entry in row} == pytest.approx(
        dict(zip(info.classes, expected.tolist(), strict=True)), abs=1e-4
    )
