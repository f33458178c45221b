"""Training for the roundings of an int8 file: the trained model is the file, and the run stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from stkd.core.errors import StkdError
from stkd.core.files import digest_file
from stkd.export import export_run, open_exported
from stkd.export.captured import Normalised, capture
from stkd.export.contract import Contract
from stkd.export.format import Source
from stkd.export.formats import int8_onnx
from stkd.export.formats.int8_onnx import Int8Onnx
from stkd.export.int8.fake_quant import FakeQuantised
from stkd.export.int8.folding import folded
from stkd.export.int8.qad import Tuned
from stkd.models.files import ModelInfo
from stkd.runs.finished_run import open_run

pytestmark = pytest.mark.usefixtures("onnx")


@pytest.mark.parametrize("model", ["resnet8", pytest.param("mobilenetv3", marks=pytest.mark.slow)])
def test_what_is_trained_answers_as_its_file(
    model: str, run_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_run(run_of(model), with_teacher=False)
    info, before = opened.info, {name: value.clone() for name, value in opened.model.state_dict().items()}
    images = torch.rand(32, info.channels, info.size, info.size, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (info.mean, info.std))
    trained: list[torch.Tensor] = []

    def changed(_: Any, student: FakeQuantised, epochs: int) -> Tuned:
        student.train()
        optimizer = torch.optim.SGD(student.parameters(), lr=1e-3)
        for _ in range(2):
            student((images - mean) / std).square().mean().backward()
            optimizer.step()
        with torch.no_grad():
            trained.append(student.eval()((images - mean) / std))
        ranges = student.ranges()
        return Tuned(student.exact(), ranges, {"epochs": epochs})

    monkeypatch.setattr(int8_onnx, "tuned", changed)
    source = Source(capture(Normalised(opened.model, info), info), Contract(info, "noise", ""), [images])
    format, file = Int8Onnx(qad=1), tmp_path / "a.onnx"
    format.write(format.prepared(opened, source), file)
    found = open_exported(file).run(images.numpy())
    off = np.abs(found - trained[0].numpy()) > 1e-3 * max(1.0, np.abs(found).max())
    assert off.any(1).mean() <= 0.1  # a sum that lies between two steps may be rounded to either
    for name, value in opened.model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_batch_normalisations_are_folded(run_of: Any) -> None:
    opened = open_run(run_of("resnet8"), with_teacher=False)
    program = capture(Normalised(opened.model, opened.info), opened.info)
    module = folded(program)
    assert not [node for node in module.graph.nodes if "batch_norm" in str(node.target)]
    images = torch.rand(5, 1, opened.info.size, opened.info.size)
    with torch.no_grad():
        torch.testing.assert_close(module(images), program.module()(images), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_run_is_trained_once_and_stays_as_it_is(run_of: Any, stkd: Any) -> None:
    run = run_of("resnet8")
    files = {file: digest_file(file) for file in run.rglob("*") if file.is_file() and file.name != "README.md"}
    assert stkd("export", run, "--to", "int8-onnx").code == 0
    assert not list(run.glob("exports/qad*"))  # nothing is trained unasked
    answer = stkd("export", run, "--to", "int8-onnx", "--qad", 2, "--force")
    assert answer.code == 0, answer.err
    assert {file: digest_file(file) for file in files} == files
    record = json.loads((run / "exports" / "int8-onnx.json").read_text())
    (own,) = run.glob("exports/qad-2-*")
    assert record["training"] == {"epochs": 2, "teacher": "the model in float", "lr": pytest.approx(0.005),
                                  "run": own.name}  # fmt: skip
    rows = [json.loads(line) for line in (own / "metrics.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert all(row["train_kl"] >= 0 for row in rows)
    first = (run / "exports" / "model.int8.onnx").read_bytes()
    made = (own / "result.json").stat().st_mtime_ns
    assert stkd("export", run, "--to", "int8-onnx", "--qad", 2, "--force").code == 0
    assert (own / "result.json").stat().st_mtime_ns == made
    assert (run / "exports" / "model.int8.onnx").read_bytes() == first


def test_the_teacher_of_the_run_teaches_again(student_run: Path) -> None:
    record = export_run(student_run, "int8-onnx", qad=1).record
    assert record["training"]["teacher"] == "the run's teacher"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--to", "int8-onnx", "--qad", 0], "--qad must be at least 1 epoch, got 0"),
        (["--to", "onnx", "--qad", 3], "--qad is of no use for --to onnx; it is for int8-onnx"),
    ],
)
def test_bad_options_get_one_line(options: list[Any], says: str, student_run: Path, stkd: Any) -> None:
    answer = stkd("export", student_run, *options)
    assert (answer.code, answer.out, answer.err) == (2, "", f"stkd: error: {says}\n")
    assert not (student_run / "exports").exists()


def test_a_file_that_loses_much_says_what_mends_it(run_of: Any, stkd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of("cnn2")
    calibrated = int8_onnx.calibrated

    def narrow(*arguments: Any) -> Any:
        return {name: (0.01 * low, 0.01 * high) for name, (low, high) in calibrated(*arguments).items()}

    monkeypatch.setattr(int8_onnx, "calibrated", narrow)
    answer = stkd("export", run, "--to", "int8-onnx")
    assert answer.code == 0
    assert f"run stkd export {run} --to int8-onnx --qad 10 --force" in answer.out
    assert (run / "exports" / "model.int8.onnx").is_file()


def test_a_model_whose_tensors_are_not_found_is_said() -> None:
    info = ModelInfo("own", ("a", "b"), 1, 8, (0.5,), (0.5,))
    graph = folded(capture(Normalised(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), info), info))
    with pytest.raises(StkdError, match=r"^--qad cannot train this model: nothing in it is the file's 'other'"):
        FakeQuantised(graph, info, {"other": (0.0, 1.0)})
