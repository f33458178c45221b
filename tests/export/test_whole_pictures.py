"""Files that take whole pictures: the same square as stkd's, made inside the graph."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stkd.data.decode import decode, resize_square
from stkd.export import export_run, open_exported
from stkd.export.resizing import Whole
from stkd.models.files import ModelInfo

VIEWS = [(96, 1.0, "bilinear"), (96, 0.875, "bicubic"), (64, 0.95, "bilinear"), (32, 1.0, "bicubic")]
SHAPES = [(150, 200), (300, 180), (40, 50), (96, 96), (192, 192), (1, 500), (400, 21), (601, 799), (1200, 1600)]


def info(size: int, crop_pct: float, interpolation: Any, channels: int = 3) -> ModelInfo:
    return ModelInfo(
        "own",
        ("a", "b"),
        channels,
        size,
        (0.5,) * channels,
        (0.5,) * channels,
        crop_pct=crop_pct,
        interpolation=interpolation,
    )


@pytest.mark.parametrize(("size", "crop_pct", "interpolation"), VIEWS)
@pytest.mark.parametrize("channels", [1, 3])
def test_squares_are_those_of_evaluation(size: int, crop_pct: float, interpolation: str, channels: int) -> None:
    whole, rng = Whole(nn.Identity(), info(size, crop_pct, interpolation, channels)), np.random.default_rng(size)
    for height, width in SHAPES:
        pixels = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
        if height > 500:  # blocks, whose means lie in the middle between two levels
            pixels = np.kron(pixels[: height // 4, : width // 4] // 128 * 255, np.ones((4, 4, 1), np.uint8))
        found = whole.square(torch.from_numpy(pixels))
        expected = resize_square(torch.from_numpy(pixels).permute(2, 0, 1), size, crop_pct, interpolation)
        assert torch.equal(found, expected.float()), (height, width)


@pytest.mark.parametrize("name", ["cnn4", "cnn2"])
def test_a_file_that_takes_pictures_answers_as_the_run(
    name: str, onnx: Any, run_of: Any, photos: Path, stkd: Any
) -> None:
    import onnxruntime

    run = run_of(name)
    answer = stkd("export", run, "--to", "onnx", "--whole-pictures", "--json")
    assert (answer.code, answer.err) == (0, "")
    assert json.loads(answer.out)["agreement"]["largest_difference"] < 1e-4
    file = run / "exports" / "model.onnx"
    contract = open_exported(file).contract
    said = json.loads(contract.text())
    assert said["input"]["shape"] == ["height", "width", contract.info.channels]
    assert (said["input"]["type"], said["input"]["layout"], said["resize"]["inside"]) == ("uint8", "HWC", True)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    images = sorted(photos.glob("test/*/*.png"))
    rows = {who: json.loads(stkd("predict", who, *images, "--json").out) for who in (run, file)}
    for image, one, other in zip(images, rows[run], rows[file], strict=True):
        pixels = decode(image, contract.info.channels).permute(1, 2, 0).contiguous().numpy()
        logits = session.run(["logits"], {"picture": pixels})[0][0]
        role = next(key for key in one if key != "image")
        assert contract.info.classes[logits.argmax()] == other["model"][0]["class"] == one[role][0]["class"]
        assert other["model"][0]["probability"] == pytest.approx(one[role][0]["probability"], abs=1e-4)


@pytest.mark.slow
def test_evaluate_says_the_same_of_file_and_run(onnx: Any, run_of: Any, photos: Path, stkd: Any) -> None:
    run = run_of("cnn4")
    file = export_run(run, "onnx", whole_pictures=True).file
    data = f"folder:{photos}"
    scored, score = (json.loads(stkd("evaluate", who, "--data", data, "--json").out) for who in (run, file))
    assert score["nll"] == pytest.approx(scored["nll"], abs=1e-4)
    assert (score["top1"], score["confusion"], score["images"]) == (scored["top1"], scored["confusion"], 12)
    assert "need a file that takes squares" in stkd("evaluate", file, "--data", data, "--robustness").err


def test_what_cannot_be_is_said_in_one_line(onnx: Any, run_of: Any, stkd: Any) -> None:
    run = run_of("cnn4")
    answer = stkd("export", run, "--to", "torch-export", "--whole-pictures")
    assert (answer.code, answer.err) == (
        2,
        "stkd: error: --whole-pictures is of no use for --to torch-export; it is for onnx\n",
    )
    shutil.rmtree(run / "exports", ignore_errors=True)
    answer = stkd("export", run, "--to", "onnx", "--whole-pictures", "--data", "digits")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert not (run / "exports").exists()
