"""A run directory as a folder of the hub: its metadata, what comes back of it, and how timm opens its weights."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.utils import filter_repo_objects

import stkd
from stkd.models.files import ModelInfo
from stkd.runs.model_card import write_card
from stkd.runs.options import read_config

PAGE = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text()
PLAIN: dict[str, Any] = {"epochs": 1, "precision": "32", "accelerator": "cpu", "preflight": "off"}


def test_metadata_of_the_card(student_run: Path) -> None:
    result = json.loads((student_run / "result.json").read_text())
    data = ModelCard.load(student_run / "README.md").data
    assert (data.library_name, data.pipeline_tag) == ("stkd", "image-classification")
    assert "knowledge-distillation" in data.tags
    assert data.model_name == "cnn2"
    found = {one.dataset_split: (one.dataset_name, one.metric_type, one.metric_value) for one in data.eval_results}
    assert found == {
        "validation": ("digits", "accuracy", pytest.approx(result["val"]["top1"], abs=1e-4)),
        "test": ("digits", "accuracy", pytest.approx(result["test"]["top1"], abs=1e-4)),
    }
    assert data.license is None


def test_a_card_without_scores_is_valid(student_run: Path) -> None:
    result = json.loads((student_run / "result.json").read_text())
    for split in ("val", "test"):
        result.pop(split)
    info = stkd.load(student_run)[1]
    write_card(student_run, read_config(student_run), result, info, "student.safetensors", "cnn4")
    data = ModelCard.load(student_run / "README.md").data
    assert data.eval_results is None
    assert data.pipeline_tag == "image-classification"


def uploaded(run: Path, folder: Path) -> Path:
    """What the documented command would upload of a run."""
    (command,) = re.findall(r"^hf upload .*$", PAGE, re.MULTILINE)
    words = shlex.split(command)
    left_out = [words[i + 1] for i, word in enumerate(words) if word == "--exclude"]
    files = [file.relative_to(run).as_posix() for file in run.rglob("*") if file.is_file()]
    for name in filter_repo_objects(files, ignore_patterns=left_out):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(run / name, folder / name)
    return folder


def test_what_comes_back_is_used_like_the_run(student_run: Path, tmp_path: Path, stkd: Any) -> None:
    import stkd as package

    folder = uploaded(student_run, tmp_path / "back")
    assert not (folder / "checkpoints").exists()
    before, after = package.load(student_run), package.load(folder)
    assert before[1] == after[1]
    assert all(torch.equal(a, b) for a, b in zip(before[0].parameters(), after[0].parameters(), strict=True))
    shutil.rmtree(student_run)
    assert stkd("evaluate", folder, "--data", "digits").code == 0
    package.distill(folder, "cnn2", "digits", "kd", out=tmp_path / "next", train_images=100, **PLAIN)
    for name in ("config.yaml", "env.json", "result.json"):
        (folder / name).unlink()
    assert package.load(folder)[1] == before[1]


@pytest.mark.parametrize(
    ("name", "options", "call"),
    [
        ("test_resnet", {}, "timm.create_model('test_resnet', checkpoint_path='model.safetensors', num_classes=2)"),
        pytest.param(
            *("test_vit", {"drop_rate": 0.1}, "num_classes=2, img_size=32, drop_rate=0.1)"), marks=pytest.mark.slow
        ),
    ],
)
def test_timm_opens_what_is_timms(
    name: str, options: dict[str, Any], call: str, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    stkd.train(f"timm/{name}", f"folder:{pictures}", out=run, image_size=32, model_options=options, **PLAIN)
    card = (run / "README.md").read_text()
    assert call in card
    (code,) = re.findall(r"```python\n(import timm\n.*?)```", card, re.DOTALL)
    monkeypatch.chdir(uploaded(run, tmp_path / "elsewhere"))
    names: dict[str, Any] = {}
    exec(code, names)
    model, info = stkd.load("model.safetensors")
    images = torch.randn(2, info.channels, info.size, info.size)
    with torch.no_grad():
        torch.testing.assert_close(names["model"].eval()(images), model(images))


def test_the_card_says_why_timm_does_not_open_a_simkd_student(student_run: Path) -> None:
    result = json.loads((student_run / "result.json").read_text())
    info = ModelInfo("simkd/timm/resnet10t/64", tuple("0123456789"), 1, 32, (0.5,), (0.5,))
    write_card(student_run, read_config(student_run), result, info, "student.safetensors", "cnn4")
    card = (student_run / "README.md").read_text()
    assert "`timm.create_model` does not open it" in card
    assert "import timm" not in card
