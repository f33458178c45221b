"""An ONNX file from anywhere answers as the model that it was made of."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stkd import models
from stkd.core.errors import StkdError
from stkd.models.files import ModelInfo
from stkd.teachers import onnx_file
from stkd.teachers.loading import load_teacher
from stkd.teachers.onnx_file import OnnxModel

onnx = pytest.importorskip("onnx", reason="onnx is not installed (stkd[onnx])")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (stkd[onnx])")

CLASSES = ("ant", "bee", "cat", "dog")
DATA = ModelInfo("student", CLASSES, 3, 8, (0.5,) * 3, (0.25,) * 3)
CPU = torch.device("cpu")
IMAGES = torch.randn(5, 3, 8, 8)


class Several(nn.Module):
    """Answers with more than its logits, or with something else."""

    def __init__(self, model: nn.Module, what: str) -> None:
        super().__init__()
        self.model, self.what = model, what

    def forward(self, x: Tensor) -> Any:
        if self.what == "last":
            return self.model(x.permute(0, 3, 1, 2))
        logits = self.model(x)
        answers = {"probabilities": logits.softmax(1), "both": (logits, 2 * logits), "maps": logits[:, :, None]}
        return answers.get(self.what, logits)


def exported(file: Path, what: str = "", classes: int = 4, batch: bool = True, named: bool = False) -> nn.Module:
    """A network and its file, written by torch's exporter."""
    model, content = written(what, classes, batch, named)
    file.write_bytes(content)
    return model


@cache
def written(what: str, classes: int, batch: bool, named: bool) -> tuple[nn.Module, bytes]:
    """A network and the content of its file; exporting takes seconds."""
    torch.manual_seed(0)
    model = models.create("cnn4", num_classes=classes).eval()
    sample = torch.randn(2 if batch else 3, *((8, 8, 3) if what == "last" else (3, 8, 8)))
    dynamic: dict[str, Any] = {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)} if batch else {}
    names: dict[str, Any] = {"output_names": ["logits", "twice"]} if named else {}
    program = torch.onnx.export(Several(model, what).eval(), (sample,), dynamo=True, verbose=False, **dynamic, **names)
    assert program is not None
    return model, program.model_proto.SerializeToString()


@pytest.mark.parametrize("batch", [True, False], ids=["any-number", "three-at-once"])
def test_it_answers_as_its_model(batch: bool, tmp_path: Path) -> None:
    model = exported(tmp_path / "x.onnx", batch=batch)
    teacher = load_teacher(None, tmp_path / "x.onnx", DATA, CPU, mean=(0.1,) * 3, std=(0.3,) * 3)
    seen = (IMAGES * 0.25 + 0.5 - 0.1) / 0.3
    with torch.no_grad():
        torch.testing.assert_close(teacher.logits(IMAGES), model(seen), atol=1e-4, rtol=1e-4)
    assert teacher.name == "x.onnx"
    assert teacher.info.size == 8


def test_channels_last(tmp_path: Path) -> None:
    model = exported(tmp_path / "x.onnx", "last")
    with torch.no_grad():
        torch.testing.assert_close(OnnxModel(tmp_path / "x.onnx")(IMAGES), model(IMAGES), atol=1e-4, rtol=1e-4)


def test_probabilities_are_as_good_as_logits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "stkd")
    model = exported(tmp_path / "x.onnx", "probabilities")
    teacher = load_teacher(None, tmp_path / "x.onnx", DATA, CPU)
    assert "answers with probabilities; their logarithms are taken as logits" in caplog.text
    with torch.no_grad():
        expected = (model(IMAGES) / 4).softmax(1)
    torch.testing.assert_close((teacher.logits(IMAGES) / 4).softmax(1), expected, atol=1e-4, rtol=1e-4)


def test_logits_by_their_name_among_two(tmp_path: Path) -> None:
    model = exported(tmp_path / "x.onnx", "both", named=True)
    with torch.no_grad():
        torch.testing.assert_close(OnnxModel(tmp_path / "x.onnx")(IMAGES), model(IMAGES), atol=1e-4, rtol=1e-4)


def test_classes_from_a_list(tmp_path: Path) -> None:
    model = exported(tmp_path / "x.onnx", classes=5)
    (tmp_path / "names.txt").write_text("dog\ncat\nemu\nbee\nant\n")
    teacher = load_teacher(None, tmp_path / "x.onnx", DATA, CPU, classes=tmp_path / "names.txt")
    with torch.no_grad():
        expected = model(IMAGES)[:, [4, 3, 1, 0]]
    torch.testing.assert_close(teacher.logits(IMAGES), expected, atol=1e-4, rtol=1e-4)


def test_a_file_of_a_run(teacher_run: Path, tmp_path: Path, stkd: Any) -> None:
    """Its normalisation is inside, and it names its classes."""
    assert stkd("export", teacher_run, "--to", "onnx").code == 0
    (file,) = (teacher_run / "exports").glob("*.onnx")
    data = ModelInfo("student", tuple("9876543210"), 1, 8, (0.5,), (0.25,))
    own, other = (load_teacher(None, path, data, CPU) for path in (teacher_run, file))
    grey = torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(other.logits(grey), own.logits(grey), atol=1e-4, rtol=1e-4)


def test_other_weights_are_another_teacher(tmp_path: Path) -> None:
    exported(tmp_path / "x.onnx")
    first = load_teacher(None, tmp_path / "x.onnx", DATA, CPU).fingerprint()
    assert load_teacher(None, tmp_path / "x.onnx", DATA, CPU).fingerprint() == first
    (tmp_path / "x.onnx.data").write_bytes(b"weights beside it")
    assert load_teacher(None, tmp_path / "x.onnx", DATA, CPU).fingerprint() != first


@pytest.mark.parametrize(
    ("what", "options", "words"),
    [
        ("both", {}, r"has 2 outputs that could be logits \(\w+, \w+\); export it with its logits alone"),
        ("maps", {}, r"has no output \(B, classes\)"),
        ("", {"size": 16}, "takes images of 8 pixels; leave out --teacher-size 16"),
        ("", {"new_head": True}, r"--teacher-probe needs a teacher's features, and .*x\.onnx shows its logits alone"),
        ("", {"name": "cnn4"}, "is a whole model; leave out --teacher cnn4"),
    ],
)
def test_files_that_are_refused(what: str, options: dict[str, Any], words: str, tmp_path: Path) -> None:
    exported(tmp_path / "x.onnx", what)
    with pytest.raises(StkdError, match=words) as caught:
        load_teacher(options.pop("name", None), tmp_path / "x.onnx", DATA, CPU, **options)
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    with pytest.raises(StkdError, match="is damaged or no ONNX file"):
        load_teacher(None, tmp_path / "x.onnx", DATA, CPU)
    with pytest.raises(StkdError, match=r"y\.onnx does not exist"):
        load_teacher(None, tmp_path / "y.onnx", DATA, CPU)
    exported(tmp_path / "z.onnx", classes=7)
    with pytest.raises(StkdError, match="has 7 outputs, and their names are not known; name its classes with"):
        load_teacher(None, tmp_path / "z.onnx", DATA, CPU)


def part(name: str, *shape: Any, kind: str = "tensor(float)") -> Any:
    """An input or output, as a session of onnxruntime describes it."""
    return SimpleNamespace(name=name, shape=list(shape), type=kind)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ((part("a", 1, 3, 8, 8), part("b", 1)), r"takes 2 inputs \(a, b\); a teacher takes images alone"),
        ((part("a", 1, 8, 8, 3, kind="tensor(uint8)"),), r"takes tensor\(uint8\) of shape \[1, 8, 8, 3\], not images"),
        ((part("a", 1, 192),), r"not images of floats \(B, C, H, W\)"),
        ((part("a", 1, 3, 8, 16),), "takes images of 8 x 16 pixels; a teacher takes squares"),
    ],
)
def test_inputs_that_are_no_images(inputs: Any, words: str) -> None:
    with pytest.raises(StkdError, match=words) as caught:
        onnx_file._input_of(inputs, Path("x.onnx"))
    assert "\n" not in str(caught.value)


def test_inputs_of_any_number_and_either_order() -> None:
    assert onnx_file._input_of([part("a", "N", 3, 8, 8)], Path("x"))[:5] == ("a", 3, 8, False, None)
    assert onnx_file._input_of([part("a", 4, "H", "W", 1)], Path("x"))[:5] == ("a", 1, None, True, 4)


def test_what_a_file_says_of_itself() -> None:
    said = {"classes": ["a", "b"], "resize": {"inside": False, "interpolation": "bicubic"}}
    assert onnx_file._said(json.dumps(said), Path("x")) == onnx_file.Said(("a", "b"), "bicubic")
    for other in ("{", "{}", "3"):
        assert onnx_file._said(other, Path("x")) is None
    said["resize"] = {"inside": True}
    with pytest.raises(StkdError, match="takes whole pictures one by one; export the run without --whole-pictures"):
        onnx_file._said(json.dumps(said), Path("x"))


def test_images_of_another_size_than_it_takes(tmp_path: Path) -> None:
    exported(tmp_path / "x.onnx")
    with pytest.raises(StkdError, match=r"does not take images \(5, 3, 9, 9\) .*; give --teacher-size") as caught:
        OnnxModel(tmp_path / "x.onnx")(torch.randn(5, 3, 9, 9))
    assert "\n" not in str(caught.value)
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(StkdError, match="does not exist; check the path"):
        load_teacher(None, tmp_path / "folder.onnx", DATA, CPU)


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StkdError, match=r"x\.onnx needs onnxruntime: pip install 'stkd\[onnx\]'"):
        OnnxModel(Path("x.onnx"))
