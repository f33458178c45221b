from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from stkd import models
from stkd.core.errors import StkdError
from stkd.models.files import ModelInfo, find_weights, load_model, read_info, save_model
from stkd.teachers.loading import load_teacher

INFO = ModelInfo("cnn2", ("Käfer", "two words", "c/d"), 3, 16, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_round_trip(tmp_path: Path) -> None:
    model = models.create("cnn2", num_classes=3)
    save_model(model, tmp_path / "m.safetensors", INFO)
    loaded, info = load_model(tmp_path / "m.safetensors")
    assert info == INFO == read_info(tmp_path / "m.safetensors")
    assert not loaded.training
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(loaded(images), model.eval()(images))


def test_pixels_of_evaluation_are_recorded_and_old_headers_read_as_plain(tmp_path: Path) -> None:
    model, path = models.create("cnn2", num_classes=3), tmp_path / "m.safetensors"
    info = replace(INFO, crop_pct=0.875, interpolation="bicubic")
    save_model(model, path, info)
    assert read_info(path) == info
    save_model(model, path, INFO)
    with safe_open(path, "pt") as file:
        assert set(json.loads(file.metadata()["stkd"])) == {*asdict(INFO)} - {"options", "crop_pct", "interpolation"}
    assert read_info(path) == INFO


def test_a_path_may_be_text(tmp_path: Path) -> None:
    save_model(models.create("cnn2", num_classes=3), tmp_path / "m.safetensors", INFO)
    assert load_model(str(tmp_path / "m.safetensors"))[1] == INFO


@pytest.mark.parametrize("name", ["student.safetensors", "model.safetensors", "pytorch_model.bin"])
def test_found_in_a_run_directory(name: str, tmp_path: Path) -> None:
    with pytest.raises(StkdError, match="is the run finished"):
        find_weights(tmp_path)
    (tmp_path / name).touch()
    assert find_weights(tmp_path) == find_weights(tmp_path / name) == tmp_path / name


def test_file_that_names_no_model(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "m.safetensors")
    assert read_info(tmp_path / "m.safetensors") is None
    with pytest.raises(StkdError, match="does not say which model it holds"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("text", ["no json", "[1]", '{"model": "cnn2"}', '{"model": "cnn2", "strange": 1}'])
def test_header_that_is_not_ours(text: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "m.safetensors", {"stkd": text})
    with pytest.raises(StkdError, match="was not written by this version of stkd"):
        read_info(tmp_path / "m.safetensors")


def test_model_made_in_python_is_named_but_not_built(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    save_model(module, tmp_path / "m.safetensors", ModelInfo("Sequential", INFO.classes, 1, 2, (0.0,), (1.0,)))
    with pytest.raises(StkdError, match="Sequential"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"std": (0.4, 0.0, 0.6)}, "std must be positive"),
        ({"std": (0.4, -1.0, 0.6)}, "std must be positive"),
        ({"mean": (float("nan"), 0.2, 0.3)}, "mean must be a list of finite numbers"),
        ({"std": (float("inf"), 0.5, 0.6)}, "std must be a list of finite numbers"),
        ({"mean": ("0.1", 0.2, 0.3)}, "mean must be a list of finite numbers"),
        ({"mean": 0.5}, "mean must be a list of finite numbers"),
        ({"mean": (0.1,)}, "mean has 1 numbers for 3 channels"),
        ({"channels": 1}, "mean has 3 numbers for 1 channels"),
        ({"channels": True}, "channels is True"),
        ({"channels": 3.0}, r"channels is 3\.0"),
        ({"size": 0}, "size is 0"),
        ({"size": 1_000_000}, "size is 1000000"),
        ({"size": "16"}, "size is '16'"),
        ({"classes": ()}, "there are no class names"),
        ({"classes": "abc"}, "there are no class names"),
        ({"classes": ("a", "a")}, "two classes have the same name"),
        ({"classes": ("a", "")}, "class name '' is empty"),
        ({"classes": ("a", 1)}, "class name 1 is empty"),
        ({"classes": ("a", "b\x1b[31m")}, "control characters"),
        ({"classes": ("a", "\ud800")}, r"'\\ud800' is empty or has control characters"),
        ({"model": ""}, "is no name of a model"),
        ({"model": 3}, "is no name of a model"),
        ({"model": "a b"}, "is no name of a model"),
        ({"model": "/etc/passwd"}, "is no name of a model"),
        ({"model": "x" * 300}, "is no name of a model"),
        ({"crop_pct": 0}, "crop_pct is 0"),
        ({"crop_pct": 1.5}, r"crop_pct is 1\.5"),
        ({"crop_pct": "1"}, "crop_pct is '1'"),
        ({"crop_pct": float("nan")}, "crop_pct is nan"),
        ({"interpolation": "random"}, "interpolation is 'random'; it must be bilinear or bicubic"),
        ({"interpolation": [1]}, "interpolation is"),
        ({"options": [1]}, "options must be a mapping"),
        ({"options": {"a b": 1}}, "options must have names of keyword arguments"),
        ({"options": {"a": {"b": 1}}}, "options: a must be a number"),
    ],
    ids=lambda case: str(case)[:40] if isinstance(case, dict) else "",
)
def test_header_is_checked(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    model = models.create("cnn2", num_classes=3)
    models.save(model, tmp_path / "m.safetensors", {"stkd": json.dumps({**asdict(INFO), **changes})})
    for read in (read_info, load_model):
        with pytest.raises(StkdError, match=words) as caught:
            read(tmp_path / "m.safetensors")
        assert "\n" not in str(caught.value)
        assert str(tmp_path / "m.safetensors") in str(caught.value)


def test_weights_with_an_impossible_normalisation_are_not_evaluated(teacher_run: Path, stkd: Any) -> None:
    file = teacher_run / "model.safetensors"
    module, info = load_model(file)
    models.save(module, file, {"stkd": json.dumps({**asdict(info), "mean": [float("nan")]})})
    (teacher_run / "manifest.json").unlink()  # as of a run of an earlier version
    for command in (("evaluate", teacher_run), ("predict", teacher_run, "picture.png")):
        answer = stkd(*command)
        assert answer.code == 2
        assert "mean must be a list of finite numbers" in answer.err
        assert answer.err.count("\n") == 1


@pytest.mark.parametrize("name", ["hf/owner/name", "hf/folder", "simkd/hf/owner/name/64"])
def test_a_file_never_causes_a_download(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("timm.create_model", lambda *args, **options: asked.append(args))
    monkeypatch.setattr("timm.models.load_model_config_from_hf", lambda *args, **options: asked.append(args))
    info = ModelInfo(name, INFO.classes, 3, 16, INFO.mean, INFO.std)
    file = tmp_path / "m.safetensors"
    save_model(models.create("cnn2", num_classes=3), file, info)
    with pytest.raises(StkdError, match=f"a file never causes; name the model yourself: --teacher {name}"):
        load_model(file)
    with pytest.raises(StkdError, match="a file never causes"):
        info.build()
    with pytest.raises(StkdError, match="a file never causes"):
        load_teacher(None, file, info, torch.device("cpu"))
    assert asked == []


@pytest.mark.parametrize("key", ["pretrained", "checkpoint_path", "pretrained_cfg", "cache_dir"])
def test_options_in_a_file_cannot_ask_for_weights(key: str, tmp_path: Path) -> None:
    info = ModelInfo("timm/resnet18", INFO.classes, 3, 32, INFO.mean, INFO.std, {key: "x"})
    save_model(models.create("cnn2", num_classes=3), tmp_path / "m.safetensors", info)
    with pytest.raises(StkdError, match=f"{key} cannot be an option"):
        load_model(tmp_path / "m.safetensors")


def test_options_are_kept_with_the_weights(tmp_path: Path) -> None:
    options = {"drop_rate": 0.25, "block_args": None, "avg_down": True}
    info = ModelInfo("timm/test_resnet", INFO.classes, 3, 32, INFO.mean, INFO.std, options)
    model = info.build()
    save_model(model, tmp_path / "m.safetensors", info)
    loaded, stored = load_model(tmp_path / "m.safetensors")
    assert stored == info
    assert loaded.drop_rate == 0.25
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(loaded(images), model.eval()(images))
