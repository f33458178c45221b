"""An exported file in the place of a run: the same predictions and scores, also where neither torch nor stkd is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import stkd as library
from stkd.data.decode import decode_square
from stkd.export import export_run

DOCUMENTED = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs" / "export.md").read_text(), re.DOTALL
)

CONSUMER = """
import builtins, json, sys

real = builtins.__import__
def guarded(name, *args, **kwargs):
    if name.split(".")[0] in ("torch", "stkd", "timm", "torchvision"):
        raise ImportError(name)
    return real(name, *args, **kwargs)
builtins.__import__ = guarded

import numpy as np

program, file, target, *images = sys.argv[1:]
answers, pixels = [], []
for image in images:
    scope = {}
    exec(program.replace("student.onnx", file).replace("IMAGE", image), scope)
    odds = np.exp(scope["logits"] - scope["logits"].max())
    answers.append(dict(zip(scope["about"]["classes"], (odds / odds.sum()).tolist())))
    pixels.append(scope["pixels"])
np.save(target, np.stack(pixels))
with open(target + ".json", "w") as written:
    json.dump(answers, written)
"""
"""Runs the program in the docs on several images, where neither torch nor stkd can be imported."""


@pytest.mark.parametrize("view", [{}, {"crop_pct": 0.875, "interpolation": "bicubic"}])
def test_a_process_without_torch_and_stkd_answers_as_predict_does(
    view: dict[str, Any], onnx: Any, photos: Path, tmp_path: Path, stkd: Any
) -> None:
    result = library.train("cnn4", f"folder:{photos}", out=tmp_path / "run", epochs=3, image_size=32, batch_size=4,
                           precision="32", accelerator="cpu", preflight="off", **view)  # fmt: skip
    file = export_run(result.out, "onnx").file
    images = sorted(photos.glob("test/*/*.png"))
    (program,) = DOCUMENTED
    target = tmp_path / "pixels.npy"
    done = subprocess.run(
        [sys.executable, "-c", CONSUMER, program, file, target, *images], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(Path(f"{target}.json").read_text())
    assert done.stdout.splitlines() == [max(answer, key=answer.__getitem__) for answer in answers]
    assert len(answers) == 12
    _, info = library.load(result.out)
    for path, pixels in zip(images, np.load(target), strict=True):
        seen = decode_square(path, info.channels, info.size, info.crop_pct, info.interpolation)
        assert np.abs(pixels * 255 - seen.numpy()).max() <= 2
    for who in (result.out, file):
        rows = json.loads(stkd("predict", who, *images, "--json").out)
        for row, answer in zip(rows, answers, strict=True):
            for one in row["model"]:
                assert answer[one["class"]] == pytest.approx(one["probability"], abs=0.01)
            assert max(answer, key=answer.__getitem__) == row["model"][0]["class"]


def test_a_pt2_file_answers_without_stkd_and_timm(run_of: Any) -> None:
    file = export_run(run_of("cnn4"), "torch-export").file
    code = (
        "import sys, torch\n"
        "sys.modules |= dict.fromkeys(['stkd', 'timm', 'torchvision'])\n"  # importing one raises
        "print(*torch.export.load(sys.argv[1]).module()(torch.zeros(3, 3, 64, 64)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code, file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "3 2\n"), done.stderr


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
