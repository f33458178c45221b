"""Names of models and their options, from the command line to the weights of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

import stkd
from stkd.core.errors import StkdError
from stkd.models import create, recorded_name
from stkd.models.files import load_model, read_info
from stkd.models.names import hub_folder, needs_hub


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "the name of a model is empty"),
        ("teacher.onnx", "an ONNX file is given by itself, --teacher-weights FILE"),
        ("folder/Teacher.ONNX", "an ONNX file is given by itself, --teacher-weights FILE"),
        ("C:\\models\\teacher.onnx", "an ONNX file is given by itself, --teacher-weights FILE"),
        ("runs/a/student.safetensors", "it is a file of weights"),
        ("resnet.pth", "it is a file of weights"),
        ("hf/nothing", "neither OWNER/NAME nor a folder"),
        ("hf/a/b/c", "neither OWNER/NAME nor a folder"),
        ("hf//no/such/folder", "neither OWNER/NAME nor a folder"),
        ("hub/owner/name", "unknown model source 'hub'"),
    ],
)
def test_names_that_are_refused(name: str, words: str) -> None:
    with pytest.raises(StkdError, match=words) as caught:
        create(name, num_classes=3)
    assert "\n" not in str(caught.value)


def test_onnx_teacher_is_one_line(tmp_path: Path, stkd: Any) -> None:
    (tmp_path / "names.txt").write_text("\n".join("0123456789"))
    answer = stkd(
        *("distill", "--data", "digits", "--teacher", "teacher.onnx", "--teacher-pretrained", "true"),
        *("--teacher-classes", tmp_path / "names.txt", "--student", "cnn2", "--out", tmp_path / "run"),
    )
    assert answer.code == 2
    assert "an ONNX file is given by itself, --teacher-weights FILE" in answer.err
    assert answer.err.count("\n") == 1


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder as timm writes it, of a small network with options of its own."""
    folder = tmp_path / "my model"
    folder.mkdir()
    config = {
        "architecture": "test_resnet",
        "num_classes": 5,
        "num_features": 256,
        "model_args": {"drop_rate": 0.5},
        "pretrained_cfg": {"input_size": [3, 160, 160], "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": 5},
    }
    (folder / "config.json").write_text(json.dumps(config))
    state = timm.create_model("test_resnet", num_classes=5).state_dict()
    torch.save(state, folder / "pytorch_model.bin")
    return folder


def test_folder_of_a_timm_model(saved: Path) -> None:
    model = create(f"hf/{saved}", num_classes=3, image_size=32)
    assert model.drop_rate == 0.5
    assert create(f"hf/{saved}", num_classes=3, options={"drop_rate": 0.1}).drop_rate == 0.1
    assert recorded_name(f"hf/{saved}", {"drop_path_rate": 0.2}) == (
        "timm/test_resnet",
        {"drop_rate": 0.5, "drop_path_rate": 0.2},
    )
    fetched = create(f"hf/{saved}", num_classes=5, pretrained=True)
    state = torch.load(saved / "pytorch_model.bin", weights_only=True)
    assert all(torch.equal(tensor, state[name]) for name, tensor in fetched.state_dict().items())


def test_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(StkdError, match=r"the folder has no config\.json"):
        create(f"hf/{tmp_path}", num_classes=3)
    for content, words in (
        ("{}", "is no model of timm"),
        ("{", "cannot read the configuration"),
        ("[]", "cannot read"),
    ):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(StkdError, match=words) as caught:
            create(f"hf/{tmp_path}", num_classes=3)
        assert "\n" not in str(caught.value)


def test_repositories_and_folders_are_told_apart(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_folder("timm/resnet18.a1_in1k") is None
    assert hub_folder("timm/resnet18.a1_in1k@main") is None
    assert hub_folder(str(saved)) == saved
    monkeypatch.chdir(tmp_path)
    assert hub_folder("./my model") == Path("my model")
    assert [needs_hub(name) for name in ("timm/resnet18", "hf/a/b", "simkd/hf/a/b/3", "simkd/resnet8/64")] == [
        *(False, True, True, False)
    ]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("timm/resnet18", {"drop_rat": 1}, "unknown option of timm/resnet18 'drop_rat'; did you mean drop_rate"),
        ("torchvision/resnet18", {"zero_init": 1}, "did you mean zero_init_residual"),
        ("resnet8", {"depth": 20}, "resnet8 has no options, got 'depth'"),
        ("simkd/resnet8/64", {"depth": 20}, "resnet8 has no options"),
        ("timm/resnet18", {"in_chans": 1}, "in_chans cannot be an option of timm/resnet18"),
        ("torchvision/resnet18", {"weights": "DEFAULT"}, "weights cannot be an option"),
    ],
)
def test_options_that_a_model_does_not_have(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(StkdError, match=words):
        create(name, num_classes=3, options=options)


def test_options_reach_the_model() -> None:
    assert create("timm/test_resnet", num_classes=3, options={"drop_rate": 0.3}).drop_rate == 0.3
    model = create("torchvision/resnet18", num_classes=3, options={"zero_init_residual": True})
    assert not model.layer1[0].bn2.weight.any()


OWN_MODEL = """
from torch import nn
from stkd.models.registry import register

@register("own_mlp", "a small perceptron")
def own_mlp(*, num_classes, in_channels, width=4, act="relu"):
    activation = {"relu": nn.ReLU, "tanh": nn.Tanh}[act]()
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 64, width), activation, nn.Linear(width, num_classes))
"""


@pytest.mark.usefixtures("forget")
def test_options_are_part_of_a_run(tmp_path: Path, stkd: Any) -> None:
    (tmp_path / "own.py").write_text(OWN_MODEL)
    plain = ("--plugin", tmp_path / "own.py", "--epochs", "1", "--train-images", "64", "--precision", "32")
    train = ("train", "--data", "digits", "--model", "own_mlp", *plain)
    answer = stkd(*train, "--model-options", "width=7,act=tanh", "--out", tmp_path / "teacher")
    assert answer.code == 0, answer.err
    info = read_info(tmp_path / "teacher" / "model.safetensors")
    assert info is not None
    assert info.options == {"width": 7, "act": "tanh"}
    model, _ = load_model(tmp_path / "teacher")
    assert model[1].out_features == 7
    again = stkd(*train, "--model-options", "width=7", "--model-options", "act=tanh", "--out", tmp_path / "teacher")
    assert again.code == 0, again.err

    distil = ("distill", "--data", "digits", "--teacher-weights", tmp_path / "teacher", "--student", "own_mlp", *plain)
    answer = stkd(*distil, "--student-options", "width=3", "--out", tmp_path / "student")
    assert answer.code == 0, answer.err
    assert load_model(tmp_path / "student")[0][1].out_features == 3

    wrong = stkd(*distil, "--student-options", "widht=3", "--out", tmp_path / "wrong")
    assert wrong.code == 2
    assert "unknown option of own_mlp 'widht'; did you mean width?" in wrong.err
    wrong = stkd(*distil, "--teacher-options", "width=9", "--out", tmp_path / "wrong")
    assert wrong.code == 2
    assert "does not fit" in wrong.err


@pytest.mark.usefixtures("forget")
def test_options_from_python(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN_MODEL)
    result = stkd.train(
        "own_mlp",
        "digits",
        out=tmp_path / "run",
        epochs=1,
        train_images=64,
        model_options={"width": 5},
        plugin=tmp_path / "own.py",
    )
    assert load_model(result.out)[0][1].out_features == 5
    with pytest.raises(StkdError, match="model_options must be a mapping"):
        stkd.train("own_mlp", "digits", out=tmp_path / "other", model_options=[1])
