"""Every format answers as the model does, for any number of images, and says what it expects of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import stkd
from stkd.core.errors import StkdError
from stkd.export import export_run, exporters, open_exported
from stkd.export.captured import Normalised, capture
from stkd.export.contract import Contract
from stkd.export.format import Source
from stkd.models.files import ModelInfo

CASES = [
    ("cnn2", "onnx"),
    ("resnet8", "onnx"),
    pytest.param("mobilenetv3", "onnx", marks=pytest.mark.slow),
    ("cnn2", "openvino"),
    ("cnn2", "torch-export"),
    pytest.param("mobilenetv3", "torch-export", marks=pytest.mark.slow),
]

Images = np.ndarray[Any, np.dtype[np.float32]]


def by_its_runtime(file: Path) -> Callable[[Images], Images]:
    """The file's answers by its runtime alone, without stkd."""
    if file.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        return lambda images: session.run(["logits"], {"images": images})[0]
    if file.suffix == ".xml":
        import openvino

        compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda images: compiled({"images": images})["logits"]
    module = torch.export.load(file).module()
    return lambda images: module(torch.from_numpy(images)).detach().numpy()


def said_by(file: Path) -> str:
    """The contract in a file's metadata, without stkd."""
    if file.suffix == ".onnx":
        import onnx

        return str({entry.key: entry.value for entry in onnx.load(file).metadata_props}["stkd"])
    if file.suffix == ".xml":
        import openvino

        return str(openvino.Core().read_model(file).get_rt_info(["stkd"]).astype(str))
    extra = {"stkd": ""}
    torch.export.load(file, extra_files=extra)
    return extra["stkd"]


def need(name: str) -> None:
    for package in (*exporters.get(name).writers, *exporters.get(name).runners):
        pytest.importorskip(package, reason=f"{package} is not installed")


@pytest.mark.parametrize(("model", "to"), CASES)
def test_any_number_of_images_is_answered_as_by_the_model(model: str, to: str, run_of: Any) -> None:
    need(to)
    run = run_of(model)
    exported = export_run(run, to)
    answer = by_its_runtime(exported.file)
    module, info = stkd.load(run)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (info.mean, info.std))
    for count in (1, 2, 7, 64):
        images = torch.rand(count, info.channels, info.size, info.size, generator=torch.Generator().manual_seed(count))
        with torch.no_grad():
            expected = module((images - mean) / std)
        found = torch.from_numpy(answer(images.numpy()))
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(found, expected, atol=1e-4 * scale, rtol=0)
        assert found.argmax(1).equal(expected.argmax(1))


@pytest.mark.parametrize("to", ["onnx", "openvino", "torch-export"])
def test_metadata_name_all_that_a_consumer_needs_and_no_folder(to: str, run_of: Any, photos: Path) -> None:
    need(to)
    run = run_of("cnn4")
    file = export_run(run, to).file
    said = json.loads(said_by(file))
    assert json.loads(open_exported(file).contract.text()) == said
    assert said["classes"] == ["kiwi", "plum"]
    assert said["input"]["shape"] == ["batch", 3, 64, 64]
    assert (said["input"]["layout"], said["input"]["range"], said["input"]["colour"]) == ("NCHW", [0, 1], "RGB")
    assert said["resize"]["steps"] == [
        {"do": "resize", "shorter side to": 73},
        {"do": "centre crop", "to": [64, 64], "offset": "rounded, halves to even"},
    ]
    assert said["resize"]["interpolation"] == "bicubic"
    assert said["normalisation"]["inside"] is True
    assert said["provenance"]["data"] == "the folder photos"
    assert said["provenance"]["stkd"] == stkd.__version__
    for part in run.joinpath("exports").iterdir():
        content = part.read_bytes()
        for private in (str(photos.parent), str(Path(torch.__file__).parent), str(Path(stkd.__file__).parent)):
            assert private.encode() not in content, part


class Odd(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.linalg.eigvals(images[:, 0]).real


class Branch(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :2] if images.sum() > 0 else images.flatten(1)[:, 2:4]


class ForTwo(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.reshape(2, -1)[:, :2]


INFO = ModelInfo("own", ("a", "b", "c", "d", "e", "f", "g", "h"), 1, 8, (0.5,), (0.5,))


def test_an_operator_that_onnx_lacks_is_named_with_its_layer(onnx: Any, tmp_path: Path) -> None:
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(1, 1, 1))
    model.add_module("spectrum", Odd())
    program = capture(Normalised(model, INFO), INFO)
    with pytest.raises(StkdError, match=r"^ONNX cannot express the own: it has no operator aten\.linalg_\w+, which the "
                                        r"layer spectrum needs$"):  # fmt: skip
        exporters.get("onnx")().write(Source(program, Contract(INFO, "digits", "")), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "why"), [(Branch(), "it does other things for other images"), (ForTwo(), "it works for one number of")]
)
def test_a_model_that_is_no_graph_says_why(model: nn.Module, why: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StkdError, match=rf"^the own cannot be exported: {why}"):
        capture(Normalised(model, INFO), INFO)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_claims_another_input_is_refused(onnx: Any, run_of: Any, tmp_path: Path) -> None:
    file = export_run(run_of("cnn2"), "onnx").file
    model = onnx.load(file)
    said = json.loads(model.metadata_props[0].value)
    for name, value, words in (
        ("classes", ["a", "b"], "does not have the input and the classes that it claims"),
        ("classes", ["a", "a"], "two classes have the same name"),
        ("format", 99, "was not written by this version"),
    ):
        onnx.helper.set_model_props(model, {"stkd": json.dumps({**said, name: value})})
        onnx.save(model, tmp_path / "other.onnx")
        with pytest.raises(StkdError, match=words):
            open_exported(tmp_path / "other.onnx")
