"""Teachers of every make distil, and a run that was killed goes on bit for bit; what cannot work is one line."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import stkd as package
from stkd import models
from stkd.core.errors import StkdError
from stkd.runs.evaluation import evaluate_run

pytestmark = pytest.mark.slow  # they load transformers and onnxruntime

SHORT: dict[str, Any] = {"epochs": 2, "train_images": 120, "batch_size": 30, "precision": "32", "accelerator": "cpu"}
DIGITS = {i: str(i) for i in range(10)}


class Both(nn.Module):
    """Answers with features beside its logits."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.inside = model

    def forward(self, x: Tensor) -> Any:
        return {"out": self.inside(x), "shape": x.mean((2, 3))}


def of_transformers(place: Path) -> Path:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (stkd[hf])")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
        id2label=DIGITS,
    )
    transformers.ViTForImageClassification(config).save_pretrained(place / "vit")
    return place / "vit"


def of_onnx(place: Path) -> Path:
    pytest.importorskip("onnx", reason="onnx is not installed (stkd[onnx])")
    (place / "t.onnx").write_bytes(onnx_content())
    return place / "t.onnx"


@cache
def onnx_content() -> bytes:
    """What such a file holds; exporting takes seconds."""
    torch.manual_seed(1)
    model = models.create("cnn4", num_classes=10, in_channels=1).eval()
    dynamic = ({0: torch.export.Dim.DYNAMIC},)
    program = torch.onnx.export(model, (torch.randn(2, 1, 8, 8),), dynamo=True, verbose=False, dynamic_shapes=dynamic)
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


PLUGIN = """
import torch
from stkd import models

class Mine(torch.nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.net = models.create("cnn4", num_classes=num_classes, in_channels=in_channels)

    def forward(self, x):
        return {"logits": self.net(x), "sizes": x.mean((2, 3))}

@models.models.register("mine", "a network of a plug-in")
def mine(*, num_classes, in_channels):
    return Mine(num_classes, in_channels)
"""


def of_a_plugin(place: Path) -> dict[str, Any]:
    (place / "mine.py").write_text(PLUGIN)
    torch.manual_seed(2)
    net = models.create("cnn4", num_classes=10, in_channels=1)
    torch.save({f"net.{name}": tensor for name, tensor in net.state_dict().items()}, place / "mine.pth")
    return {"plugin": place / "mine.py", "teacher": "mine", "teacher_weights": place / "mine.pth"}


MAKES: dict[str, Callable[[Path, Path], dict[str, Any]]] = {
    "transformers": lambda place, run: {"teacher_weights": of_transformers(place)},
    "onnx": lambda place, run: {"teacher_weights": of_onnx(place)},
    "plugin": lambda place, run: of_a_plugin(place),
    "ensemble": lambda place, run: {
        "teacher_weights": of_onnx(place),
        "more_teachers": (run, of_transformers(place)),
        "teacher_shares": (1.0, 2.0, 1.0),
    },
}


@pytest.mark.parametrize("make", MAKES)
def test_it_distils_and_resumes(
    make: str, teacher_run: Path, tmp_path: Path, killed_at: Any, caplog: pytest.LogCaptureFixture, forget: Any
) -> None:
    caplog.set_level("INFO", "stkd")
    teacher = MAKES[make](tmp_path, teacher_run)

    def weights(out: Path) -> dict[str, Tensor]:
        named = {"teacher": None, **teacher}
        package.distill(named.pop("teacher"), "cnn2", "digits", "stkd", out=out, **SHORT, **named)
        return load_file(out / "student.safetensors")

    whole = weights(tmp_path / "whole")
    if make in ("transformers", "ensemble"):
        assert (
            "sees 16 x 16 colour pixels (the student's resized, bilinear), mean 0.485 0.456 0.406, "
            "std 0.229 0.224 0.225, the student 8 x 8 grey pixels (bilinear), mean" in caplog.text
        )
    with killed_at(6):
        weights(tmp_path / "run")
    resumed = weights(tmp_path / "run")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    found = evaluate_run(tmp_path / "run")
    assert 0 <= found["teacher"]["top1"] <= 1
    assert ("params" in found["teacher"]) == (make != "onnx")


def test_a_module_with_more_than_logits_teaches_and_learns(tmp_path: Path) -> None:
    torch.manual_seed(0)
    teacher, student = (Both(models.create(name, num_classes=10, in_channels=1)) for name in ("cnn4", "cnn2"))
    result = package.distill(teacher, student, "digits", "kd", out=tmp_path / "run", **SHORT)
    other = Both(models.create("cnn2", num_classes=10, in_channels=1))
    opened, _ = package.load(tmp_path / "run", model=other)
    images = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(opened(images), student.eval()(images)["out"])
    assert 0 <= result.scores["test"]["top1"] <= 1


def test_a_student_of_transformers(teacher_run: Path, tmp_path: Path) -> None:
    folder = of_transformers(tmp_path)
    package.distill(teacher_run, f"hf/{folder}", "digits", "kd", out=tmp_path / "run", **SHORT)
    card = (tmp_path / "run" / "README.md").read_text()
    assert "The student hf/vit was taught" in card
    assert str(tmp_path) not in card
    (folder / "config.json").unlink()
    opened, info = package.load(tmp_path / "run")
    assert info.model == "transformers/vit"
    assert opened(torch.randn(2, 1, 8, 8)).shape == (2, 10)


def test_a_name_stays_one_beside_a_run_that_is_called_so(
    teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        package.distill(teacher_run, "cnn2", "digits", "kd", out="cnn2", **{**SHORT, "epochs": 1})


def test_features_of_a_file_that_shows_none(tmp_path: Path) -> None:
    file = of_onnx(tmp_path)
    with pytest.raises(
        StkdError, match=r"method 'at' looks at the teacher's features, and t\.onnx shows its logits al"
    ):
        package.distill(file, "cnn2", "digits", "at", out=tmp_path / "run", **SHORT)
    with pytest.raises(StkdError, match=r"t\.onnx runs as its file is, in onnxruntime; leave out --teacher-precision"):
        package.distill(str(file), "cnn2", "digits", "kd", out=tmp_path / "b", teacher_precision="bf16", **SHORT)


def frozen() -> nn.Module:
    return models.create("cnn2", num_classes=10, in_channels=1).requires_grad_(False)


@pytest.mark.parametrize(
    ("role", "given", "words"),
    [
        ("student", frozen, "nothing of the .* can be trained: requires_grad is false for all of its parameters"),
        ("student", lambda: Both, r"the student is the class Both; give a module that is made of it: Both\(\.\.\.\)"),
        ("teacher", lambda: Both, r"the teacher is the class Both; give a module"),
        ("student", lambda: Path("runs/x"), r"the student is the path runs/x; .* student_weights='runs/x'"),
        ("student", lambda: __file__, "the student is the path .*; give the name of a model or a module"),
        ("student", lambda: 3, "the student must be the name of a model or a torch module, got a int"),
        ("teacher", lambda: 3, "the teacher must be the name of a model or a torch module, got a int"),
    ],
)
def test_what_is_no_model_is_one_line(
    role: str, given: Callable[[], Any], words: str, teacher_run: Path, tmp_path: Path
) -> None:
    named: dict[str, Any] = {"teacher": teacher_run, "student": "cnn2", role: given()}
    with pytest.raises(StkdError, match=words) as caught:
        package.distill(**named, data="digits", method="kd", out=tmp_path / "run", **SHORT)
    assert "\n" not in str(caught.value)
