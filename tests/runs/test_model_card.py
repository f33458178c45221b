"""The model card: where the images came from, and how the weights file is used without its run."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import stkd


@pytest.fixture
def run(pictures: Path, tmp_path: Path) -> Path:
    """A run on the folder `pictures`, whose data are gone afterwards."""
    common: dict[str, Any] = {"precision": "32", "accelerator": "cpu", "image_size": 16}
    result = stkd.train("cnn2", f"folder:{pictures}", out=tmp_path / "run", epochs=1, val_fraction=0.2, **common)
    return result.out


def test_card_names_the_data_without_the_folders_above(run: Path, pictures: Path) -> None:
    card = (run / "README.md").read_text()
    assert "\n---\n\n# cnn2 on the folder pictures\n" in card
    assert "Images: the folder pictures, 13 training images, 3 validation images and 4 test images" in card
    assert "on 13 training images of the folder pictures" in card
    assert str(pictures.parent) not in card
    assert json.loads((run / "result.json").read_text())["images"] == {"train": 13, "val": 3, "test": 4}


def test_what_the_card_says_works_with_the_weights_alone(
    run: Path, pictures: Path, tmp_path: Path, stkd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = (run / "README.md").read_text()
    (tmp_path / "elsewhere").mkdir()
    shutil.move(run / "model.safetensors", tmp_path / "elsewhere")
    shutil.copy(pictures / "dog" / "4.png", tmp_path / "elsewhere" / "IMAGE")
    shutil.move(pictures, tmp_path / "elsewhere" / "FOLDER")
    shutil.rmtree(run)
    monkeypatch.chdir(tmp_path / "elsewhere")

    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    commands = re.search(r"```bash\n(.*?)```", card, re.DOTALL)
    assert code is not None
    assert commands is not None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code[1], {})
    name, probability = printed.getvalue().split()
    one, folder = (line.partition("#")[0].split()[1:] for line in commands[1].splitlines())
    (answer,) = json.loads(stkd(*one, "--json").out)
    assert answer["model"][0]["class"] == name
    assert answer["model"][0]["probability"] == pytest.approx(float(probability), abs=1e-5)
    assert stkd(*folder).code == 0
    assert len((tmp_path / "elsewhere" / "answers.csv").read_text().splitlines()) == 21


def test_a_module_of_ones_own_must_be_given(tmp_path: Path) -> None:
    module = stkd.models.create("cnn2", num_classes=10, in_channels=1)
    stkd.train(module, "digits", out=tmp_path / "run", epochs=1, train_images=100, accelerator="cpu", precision="32")
    assert 'stkd.load("model.safetensors", model=MODULE)' in (tmp_path / "run" / "README.md").read_text()
