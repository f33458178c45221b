"""An exported file in the place of a run: the same predictions and scores, also where neither torch nor stkd is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import stkd as library
from stkd.export import export_run

CONSUMER = """
import builtins, json, sys

real = builtins.__import__
def guarded(name, *args, **kwargs):
    if name.split(".")[0] in ("torch", "stkd", "timm", "torchvision"):
        raise ImportError(name)
    return real(name, *args, **kwargs)
builtins.__import__ = guarded

import numpy as np
import onnxruntime
from PIL import Image

file, *images = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
about = json.loads(session.get_modelmeta().custom_metadata_map["stkd"])
_, channels, size, _ = about["input"]["shape"]
how = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}[about["resize"]["interpolation"]]

def prepared(path):
    image = Image.open(path).convert("L" if channels == 1 else "RGB")
    for step in about["resize"]["steps"]:
        if step["do"] == "resize":
            width, height = step.get("to") or [step["shorter side to"] * n // min(image.size) for n in image.size]
            image = image.resize((width, height), how)
        else:
            side = min(image.size)
            width, height = (side, side) if step["to"] == "square of the shorter side" else step["to"]
            left, top = round((image.width - width) / 2), round((image.height - height) / 2)
            image = image.crop((left, top, left + width, top + height))
    pixels = np.asarray(image, np.float32) / 255
    return np.atleast_3d(pixels).transpose(2, 0, 1)

logits = session.run(["logits"], {"images": np.stack([prepared(path) for path in images])})[0]
odds = np.exp(logits - logits.max(1, keepdims=True))
print(json.dumps([dict(zip(about["classes"], p.tolist())) for p in odds / odds.sum(1, keepdims=True)]))
"""


@pytest.mark.parametrize("view", [{}, {"crop_pct": 0.875, "interpolation": "bicubic"}])
def test_a_process_without_torch_and_stkd_answers_as_predict_does(
    view: dict[str, Any], onnx: Any, photos: Path, tmp_path: Path, stkd: Any
) -> None:
    result = library.train("cnn4", f"folder:{photos}", out=tmp_path / "run", epochs=3, image_size=32, batch_size=4,
                           precision="32", accelerator="cpu", preflight="off", **view)  # fmt: skip
    file = export_run(result.out, "onnx").file
    images = sorted(photos.glob("test/*/*.png"))
    done = subprocess.run(
        [sys.executable, "-c", CONSUMER, file, *images], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    answers = json.loads(done.stdout)
    assert len(answers) == 12
    for who in (result.out, file):
        rows = json.loads(stkd("predict", who, *images, "--json").out)
        for row, answer in zip(rows, answers, strict=True):
            for one in row["model"]:
                assert answer[one["class"]] == pytest.approx(one["probability"], abs=0.01)
            assert max(answer, key=answer.__getitem__) == row["model"][0]["class"]


@pytest.mark.parametrize("to", ["onnx", "torch-export"])
def test_predict_and_evaluate_say_the_same_of_file_and_run(
    to: str, onnx: Any, run_of: Any, photos: Path, stkd: Any
) -> None:
    run = run_of("cnn4")
    file = export_run(run, to).file
    of_run, of_file = (json.loads(stkd("predict", who, photos / "test", "--json").out) for who in (run, file))
    for one, other in zip(of_run, of_file, strict=True):
        assert [a["class"] for a in one["model"]] == [a["class"] for a in other["model"]]
        assert other["model"][0]["probability"] == pytest.approx(one["model"][0]["probability"], abs=1e-4)
    scored, score = (
        json.loads(stkd("evaluate", who, *more, "--json").out)
        for who, more in ((run, []), (file, ["--data", f"folder:{photos}"]))
    )
    assert score["images"] == 12
    assert score["nll"] == pytest.approx(scored["nll"], abs=1e-4)
    for name in ("top1", "confusion", "class_accuracy", "classes"):
        assert score[name] == scored[name]
    assert score["latency_ms_1"] > 0
    assert score["file_bytes"] == file.stat().st_size


def test_evaluate_asks_for_fitting_images(onnx: Any, run_of: Any, photos: Path, stkd: Any) -> None:
    file = export_run(run_of("cnn2"), "onnx").file
    assert "give --data KIND:PATH" in stkd("evaluate", file).err
    assert "has other classes" in stkd("evaluate", file, "--data", f"folder:{photos}").err
    assert "--alone compares a run" in stkd("evaluate", file, "--data", "digits", "--alone", file).err
    assert "unknown split" in stkd("evaluate", file, "--data", "digits", "--split", "tset").err
    answer = stkd("evaluate", file, "--data", "digits", "--split", "train")
    assert (answer.code, answer.err) == (0, "")
    assert "of the train split" in answer.out
