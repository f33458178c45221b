"""int8 files: what is in them, what they answer, and what is said about them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import stkd
from stkd.core.errors import StkdError
from stkd.data import open_data
from stkd.export import evaluate_exported, export_run, open_exported
from stkd.export.captured import Normalised, capture
from stkd.export.contract import Contract
from stkd.export.format import Source, exporters
from stkd.models.files import ModelInfo

pytestmark = pytest.mark.usefixtures("onnx")


def graph_of(file: Path) -> Any:
    import onnx

    return onnx.load(file).graph


def weights_of(graph: Any) -> dict[str, np.ndarray]:
    import onnx

    return {w.name: onnx.numpy_helper.to_array(w) for w in graph.initializer}


def test_a_run_has_the_file_with_what_it_costs(student_run: Path, stkd: Any) -> None:
    answer = stkd("export", student_run, "--to", "int8-onnx")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"{student_run}/exports/student.int8.onnx\n")
    record = json.loads((student_run / "exports" / "int8-onnx.json").read_text())
    assert record["bytes"] == (student_run / "exports" / "student.int8.onnx").stat().st_size
    accuracy = record["accuracy"]
    assert accuracy["drop"] == pytest.approx(100 * (accuracy["float"] - accuracy["file"]))
    assert f"accuracy on {accuracy['images']} {accuracy['split']} images: {accuracy['float']:.2%}" in answer.out
    kls = [layer["kl"] for layer in record["sensitivity"]]
    assert kls == sorted(kls, reverse=True)
    assert f"{record['sensitivity'][0]['layer']} {kls[0]:.2g}" in answer.out
    assert stkd("report", student_run).code == 0
    page = (student_run / "report.html").read_text()
    assert all(layer["layer"] in page for layer in record["sensitivity"])


def test_accuracy_is_that_of_evaluate(run_of: Any) -> None:
    run = run_of("resnet8")
    exported = export_run(run, "int8-onnx")
    accuracy = exported.record["accuracy"]
    assert accuracy["split"] == "test"
    assert evaluate_exported(exported.file, "digits")["top1"] == accuracy["file"]
    module, info = stkd.load(run)
    split = open_data("digits").test
    assert split is not None
    images = torch.from_numpy(split.images) / 255
    with torch.no_grad():
        logits = module((images - info.mean[0]) / info.std[0])
    assert float((logits.argmax(1).numpy() == split.labels).mean()) == pytest.approx(accuracy["float"])


@pytest.mark.parametrize("model", ["resnet8", "cnn4"])
def test_no_pair_of_products_leaves_16_bits(model: str, run_of: Any) -> None:
    """CPUs without VNNI add products of neighbours in 16 bits with saturation: all others answer as they do."""
    graph = graph_of(export_run(run_of(model), "int8-onnx").file)
    weights = weights_of(graph)
    kernels = [value for name, value in weights.items() if name.endswith("_quantized") and value.dtype == np.int8]
    layers = [node for node in graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    assert len(kernels) == len(layers)
    for kernel in kernels:
        most = np.abs(kernel.astype(np.int32)).max()
        assert 60 <= most <= 64  # all of the range is used
        assert 2 * 255 * most <= np.iinfo(np.int16).max
    points = [weights[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert points
    assert all(point.dtype == np.uint8 for point in points)


@pytest.mark.parametrize("model", ["resnet8", pytest.param("mobilenetv3", marks=pytest.mark.slow)])
def test_the_file_means_the_same_to_another_runtime(model: str, run_of: Any) -> None:
    from onnx.reference import ReferenceEvaluator

    file = export_run(run_of(model), "int8-onnx").file
    answering = open_exported(file)
    info = answering.contract.info
    images = np.random.default_rng(0).random((4, info.channels, info.size, info.size), np.float32)
    (expected,) = ReferenceEvaluator(str(file)).run(None, {"images": images})
    found = answering.run(images)
    assert np.abs(found - expected).max() < 0.05 * max(1.0, np.abs(expected).max())  # a step or two of rounding


@pytest.mark.slow
def test_any_number_of_images_has_the_same_answers(run_of: Any) -> None:
    answering = open_exported(export_run(run_of("mobilenetv3"), "int8-onnx").file)
    images = np.random.default_rng(0).random((64, 3, 64, 64), np.float32)
    whole = answering.run(images)
    for count in (1, 2, 7):
        np.testing.assert_allclose(answering.run(images[:count]), whole[:count], atol=1e-4)


def test_weights_take_a_byte_each(tmp_path: Path) -> None:
    """Of a model above a million parameters the file has at most 30 % of the size."""
    model = nn.Sequential(nn.Conv2d(1, 256, 3), nn.BatchNorm2d(256), nn.ReLU(), nn.Conv2d(256, 512, 3), nn.Hardswish(),
                          nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10))  # fmt: skip
    info = ModelInfo("own", tuple("abcdefghij"), 1, 16, (0.5,), (0.5,))
    program = capture(Normalised(model, info), info)
    source = Source(program, Contract(info, "noise", ""), [torch.rand(8, 1, 16, 16)])
    sizes = {}
    for to in ("onnx", "int8-onnx"):
        exporters.get(to)().write(source, tmp_path / f"{to}.onnx")
        sizes[to] = (tmp_path / f"{to}.onnx").stat().st_size
    assert sum(p.numel() for p in model.parameters()) > 1_000_000
    assert sizes["int8-onnx"] <= 0.3 * sizes["onnx"]


def test_a_calibration_set_without_images_is_said(tmp_path: Path) -> None:
    info = ModelInfo("own", ("a", "b"), 1, 8, (0.5,), (0.5,))
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    source = Source(capture(Normalised(model, info), info), Contract(info, "digits", ""), [])
    with pytest.raises(StkdError, match=r"^int8 takes the ranges of activations from training images, and digits has "
                                        r"none; give --data one with training images$"):  # fmt: skip
        exporters.get("int8-onnx")().write(source, tmp_path / "a.onnx")
