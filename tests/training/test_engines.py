"""Ways to run teacher and student: chosen alike at every start; a resumed run ends with the same weights."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import stkd as package
from stkd import models
from stkd.core.config import DistillConfig
from stkd.evaluation import macs
from stkd.mixing import Mix
from stkd.models.compilation import compiled, compiling_pays
from stkd.teachers import engines as teacher_engines
from stkd.teachers.openvino import Engine, can_run
from stkd.training import engines

TINY: dict[str, Any] = {"epochs": 2, "train_images": 96, "batch_size": 16, "precision": "32", "accelerator": "cpu"}
needs_int8 = pytest.mark.skipif(not can_run("int8"), reason="needs openvino and nncf")


def distil(teacher: Path, out: Path, method: str = "stkd", **options: Any) -> dict[str, Tensor]:
    """The student's weights after a tiny run."""
    package.distill(str(teacher), "cnn2", "digits", method, out=out, **{**TINY, **options})
    return load_file(out / "student.safetensors")


def answer(module: nn.Module, images: Tensor) -> Tensor:
    logits: Tensor = module(images)
    return logits


def result(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "result.json").read_text())["speed"]
    return found


def test_what_pays_depends_on_device_precision_and_work_alone() -> None:
    cpu, cuda, mps = map(torch.device, ("cpu", "cuda", "mps"))
    assert not compiling_pays(cpu, "32-true", 5e13)
    assert compiling_pays(cpu, "32-true", 1e14)
    assert not compiling_pays(cpu, "bf16-mixed", 1e20)
    assert not compiling_pays(cuda, "bf16-mixed", 1e14)
    assert compiling_pays(cuda, "bf16-mixed", 1e16)
    assert not compiling_pays(mps, "32-true", 1e20)


def test_short_run_is_not_compiled(teacher_run: Path, tmp_path: Path) -> None:
    distil(teacher_run, tmp_path / "run")
    found = result(tmp_path / "run")
    assert found["student"] == "eager"
    assert found["teachers"][0]["execution"] == "eager"


@pytest.mark.parametrize(
    ("asked", "student", "teacher"),
    [
        ("auto", "compiled", "compiled"),
        ("all", "compiled", "compiled"),
        ("teacher", "eager", "compiled"),
        ("none", "eager", "eager"),
    ],
)
def test_what_is_asked_for_in_a_long_run(
    asked: str, student: str, teacher: str, teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "compiling_pays", lambda device, precision, work: True)
    distil(teacher_run, tmp_path / "run", compile=asked, epochs=1)
    found = result(tmp_path / "run")
    assert found["student"] == student
    assert found["teachers"][0]["execution"] == teacher


@pytest.mark.parametrize(("method", "execution"), [("stkd", "compiled"), ("at", "eager")])  # at looks at features
def test_compiled_run_is_the_run(method: str, execution: str, teacher_run: Path, tmp_path: Path) -> None:
    plain = distil(teacher_run, tmp_path / "plain", method)
    fast = distil(teacher_run, tmp_path / "fast", method, compile="all")
    assert plain.keys() == fast.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(fast[name], tensor, rtol=2e-3, atol=2e-4, msg=name)
    found = result(tmp_path / "fast")
    assert found["student"] == execution
    assert found["teachers"][0]["execution"] == execution


def test_compiled_run_resumes_exactly(teacher_run: Path, tmp_path: Path, killed_at: Callable[..., Any]) -> None:
    whole = distil(teacher_run, tmp_path / "whole", compile="all")
    with killed_at(4):
        distil(teacher_run, tmp_path / "parts", compile="all", checkpoint_minutes=1e-9)
    parts = distil(teacher_run, tmp_path / "parts", compile="all", checkpoint_minutes=1e-9)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_compiler_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(nn.Module):
        def __init__(self, module: nn.Module) -> None:
            super().__init__()
            self.module = module

        def forward(self, images: Tensor) -> Tensor:
            self.module(images)
            raise RuntimeError("no C++ compiler\nand a long traceback")

    monkeypatch.setattr(torch, "compile", lambda module, **_: Broken(module))
    student = models.create("cnn2", num_classes=4)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    assert compiled(student, torch.randn(4, 3, 8, 8), answer) == (student, "eager")
    assert caplog.messages == ["compiling failed, so this run goes uncompiled (RuntimeError: no C++ compiler)"]
    assert all(torch.equal(before[name], tensor) for name, tensor in student.state_dict().items())
    assert all(p.grad is None for p in student.parameters())


@needs_int8
def test_engine_answers_as_its_model() -> None:
    torch.manual_seed(0)
    model = models.create("cnn4", num_classes=4).eval()
    batches = [torch.randn(8, 3, 16, 16) for _ in range(4)]
    with torch.no_grad():
        expected = model(batches[0])
    for precision, tolerance in (("bf16", 0.05), ("int8", 0.1)):
        found = Engine(model, precision, batches)(batches[0].to(memory_format=torch.channels_last))  # type: ignore[arg-type]
        assert found.dtype == torch.float32
        assert (found - expected).norm() < tolerance * expected.norm()


@needs_int8
def test_int8_teacher_resumes_exactly(teacher_run: Path, tmp_path: Path, killed_at: Callable[..., Any]) -> None:
    options = {"teacher_precision": "int8", "checkpoint_minutes": 1e-9}
    whole = distil(teacher_run, tmp_path / "whole", **options)
    with killed_at(4):
        distil(teacher_run, tmp_path / "parts", **options)
    parts = distil(teacher_run, tmp_path / "parts", **options)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    teacher = result(tmp_path / "whole")["teachers"][0]
    assert teacher["precision"] == "int8"
    assert teacher["int8"] == result(tmp_path / "parts")["teachers"][0]["int8"]
    assert 0.9 < teacher["int8"]["agreement"] <= 1


@needs_int8
@pytest.mark.parametrize(("agreement", "precision"), [(0.0, "int8"), (1.1, "bf16")])
def test_auto_takes_int8_where_the_teacher_stays_itself(
    agreement: float, precision: str, teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_ENGINE_PAYS", 0.0)
    monkeypatch.setattr(engines, "_INT8_PAYS", 0.0)
    monkeypatch.setattr(teacher_engines, "fast_bfloat16", lambda device: True)
    monkeypatch.setattr(teacher_engines, "_AGREEMENT", agreement)
    monkeypatch.setattr(teacher_engines, "_KL", 1.0)
    levels = []
    compare = teacher_engines._nearness

    def watched(module: nn.Module, engine: Engine, batches: list[torch.Tensor], temperature: float) -> Any:
        levels.append(torch.cat(batches).unique().numel())
        return compare(module, engine, batches, temperature)

    monkeypatch.setattr(teacher_engines, "_nearness", watched)
    distil(teacher_run, tmp_path / "run", precision="auto")
    teacher = result(tmp_path / "run")["teachers"][0]
    assert (teacher["precision"], teacher["engine"]) == (precision, "openvino")
    assert "int8" in teacher
    real, virtual = levels
    assert real <= 256 < virtual  # classes are compared on images of 8 bits, not on weighted sums of them


def test_int8_teacher_shows_no_features(teacher_run: Path, tmp_path: Path) -> None:
    with pytest.raises(package.StkdError, match="'at' looks at the teacher's features"):
        distil(teacher_run, tmp_path / "run", "at", teacher_precision="int8")


def test_missing_package_is_named(teacher_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stkd.teachers.openvino.can_run", lambda precision: False)
    with pytest.raises(package.StkdError, match=r"pip install 'stkd\[openvino\]'"):
        distil(teacher_run, tmp_path / "run", teacher_precision="int8")


def test_real_rows_beside_virtual_ones_are_work_too() -> None:
    config = DistillConfig(data="digits", student="cnn2", out=Path("unused"), epochs=3)
    data, student = package.open_data("digits"), models.create("cnn2", num_classes=10, in_channels=1)
    mixup = Mix(kind="mixup", instances=2)
    plain = engines.work_of(config, student, None, data, mixup)
    assert plain == 3 * macs(student.eval(), 1, 8) * 3 * 21 * 64, "1,297 images are 21 batches, the last one made full"
    assert engines.work_of(config, student, None, data, dataclasses.replace(mixup, beside=True)) == 2 * plain


@pytest.mark.slow
def test_a_class_of_models_is_compiled_any_number_of_times(
    teacher_run: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """torch keeps code for eight models of a class; runs of one process are many."""
    for seed in range(10):
        distil(teacher_run, tmp_path / str(seed), "kd", compile="all", epochs=1, train_images=32, seed=seed)
        assert result(tmp_path / str(seed))["student"] == "compiled"
    assert not [str(w.message) for w in recwarn if "recompile" in str(w.message)]


def test_a_cuda_graph_needs_cuda(teacher_run: Path, tmp_path: Path) -> None:
    with pytest.raises(package.StkdError, match="--cuda-graph needs a CUDA device, and this run is on cpu"):
        distil(teacher_run, tmp_path / "run", cuda_graph=True)


@needs_int8
def test_a_signal_after_engines_does_not_end_the_process(teacher_run: Path, tmp_path: Path) -> None:
    """An int8 engine that is given up, engines of several teachers, and those of the run before."""
    script = """
import signal, sys
from pathlib import Path
import stkd
from stkd.teachers import engines
from stkd.training import engines as of_training
engines.fast_bfloat16 = lambda device: True
of_training._ENGINE_PAYS = of_training._INT8_PAYS = 0.0
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
teacher, out = sys.argv[1:]
options = {"epochs": 1, "train_images": 64, "batch_size": 16, "accelerator": "cpu", "compile": "none"}
for run, agreement in enumerate((1.1, 0.0, 1.1)):
    engines._AGREEMENT, engines._KL = agreement, 1.0
    result = stkd.distill(teacher, "cnn2", "digits", out=f"{out}/{run}", more_teachers=[teacher], **options)
    print([record["precision"] for record in result.scores["speed"]["teachers"]])
    signal.raise_signal(signal.SIGTERM)
assert len(heard) == 3
"""
    argv = [sys.executable, "-c", script, str(teacher_run), str(tmp_path / "out")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['bf16', 'bf16']", "['int8', 'int8']", "['bf16', 'bf16']"]
