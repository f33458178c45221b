from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from stkd import models
from stkd.core.errors import StkdError
from stkd.models.files import ModelInfo, find_weights, load_model, read_info, save_model

INFO = ModelInfo("cnn2", ("Käfer", "two words", "c/d"), 3, 16, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_round_trip(tmp_path: Path) -> None:
    model = models.create("cnn2", num_classes=3)
    save_model(model, tmp_path / "m.safetensors", INFO)
    loaded, info = load_model(tmp_path / "m.safetensors")
    assert info == INFO == read_info(tmp_path / "m.safetensors")
    assert not loaded.training
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(loaded(images), model.eval()(images))


@pytest.mark.parametrize("name", ["student.safetensors", "model.safetensors"])
def test_found_in_a_run_directory(name: str, tmp_path: Path) -> None:
    with pytest.raises(StkdError, match="is the run finished"):
        find_weights(tmp_path)
    (tmp_path / name).touch()
    assert find_weights(tmp_path) == find_weights(tmp_path / name) == tmp_path / name


def test_without_card(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "m.safetensors")
    assert read_info(tmp_path / "m.safetensors") is None
    with pytest.raises(StkdError, match="does not say which model it holds"):
        load_model(tmp_path / "m.safetensors")


@pytest.mark.parametrize("text", ["no json", "[1]", '{"model": "cnn2"}', '{"model": "cnn2", "strange": 1}'])
def test_card_that_is_not_ours(text: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "m.safetensors", {"stkd": text})
    with pytest.raises(StkdError, match="was not written by this version of stkd"):
        read_info(tmp_path / "m.safetensors")


def test_model_made_in_python_is_named_but_not_built(tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 3))
    save_model(module, tmp_path / "m.safetensors", ModelInfo("Sequential", INFO.classes, 1, 2, (0.0,), (1.0,)))
    with pytest.raises(StkdError, match="Sequential"):
        load_model(tmp_path / "m.safetensors")
