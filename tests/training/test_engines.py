"""What runs teacher and student: chosen once, by times that the tests give, and kept when a run goes on."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
from stkd.models.compilation import compiled
from stkd.studies.bench.random_data import random_data
from stkd.teachers import engines as teacher_engines
from stkd.teachers.openvino import Engine, can_run
from stkd.training import engine_options
from stkd.training.choice import Choice, SharedChoice
from stkd.training.engines import Known
from stkd.training.session import Job, Session, open_session
from stkd.training.stopwatch import timed
from stkd.training.work import work_of

TINY: dict[str, Any] = {"epochs": 2, "train_images": 96, "batch_size": 16, "precision": "32", "accelerator": "cpu"}
LONG = 10**7  # epochs
needs_openvino = pytest.mark.skipif(not can_run("32"), reason="needs openvino")
needs_int8 = pytest.mark.skipif(not can_run("int8"), reason="needs openvino and nncf")


class Times:
    """A timer that looks at no clock.

    Args:
        seconds: Of each call by name; others take a second.
    """

    def __init__(self, seconds: Mapping[str, float] | None = None) -> None:
        self.seconds, self.asked = dict(seconds or {}), list[str]()

    def __call__(
        self,
        calls: Mapping[str, Callable[[], object]],
        device: torch.device,
        between: Callable[[], object] | None = None,
    ) -> dict[str, float]:
        self.asked += calls
        for call in calls.values():
            call()
        return {name: self.seconds.get(name, 1.0) for name in calls}


def nobody_looks(*_: Any) -> Any:
    raise AssertionError("nothing is to be timed")


@pytest.fixture
def fast_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with bf16, whatever CPU this is."""
    monkeypatch.setattr(engine_options, "fast_bfloat16", lambda device: True)


@contextmanager
def session_of(tmp_path: Path, method: str = "stkd", epochs: int = LONG, **options: Any) -> Iterator[Session]:
    """A tiny session with a teacher of random weights."""
    given: dict[str, Any] = {"teacher": "cnn4", "student": "cnn2", "batch_size": 8, "accelerator": "cpu", **options}
    config = DistillConfig(data="random", out=tmp_path / "run", method=method, epochs=epochs, **given)
    data = random_data(32, 8, 4)
    teacher = models.create("cnn4", num_classes=4, image_size=8)
    with open_session([Job.of(config)], data=data, teacher=teacher) as session:
        yield session


def chosen(tmp_path: Path, times: Any, known: Known | None = None, **options: Any) -> Choice:
    with session_of(tmp_path, **options) as session:
        return session.choose_engines(known, times)


class Instant(nn.Module):
    """What an instant compiler gives."""

    def __init__(self, module: nn.Module, **_: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        return answer(self.module, images)


def answer(module: nn.Module, images: Tensor) -> Tensor:
    logits: Tensor = module(images)
    return logits


# What is timed, and what wins.


def test_short_runs_and_explicit_options_time_nothing(tmp_path: Path) -> None:
    plain = chosen(tmp_path, nobody_looks, epochs=3)
    assert (plain.by, str(plain)) == ("plain", "teacher in float32 by torch, student in float32")
    explicit = {"precision": "bf16", "teacher_precision": "32", "compile": "none"}
    asked = chosen(tmp_path, nobody_looks, **explicit)
    assert (asked.by, str(asked)) == ("options", "teacher in float32 by torch, student in bf16")


def test_a_run_of_some_minutes_is_plain(tmp_path: Path, fast_bf16: None) -> None:
    times = Times({"students": 1e-8, "teachers": 1e-8, "bf16": 1e-9})
    assert chosen(tmp_path, times).by == "plain"
    assert times.asked == ["students", "teachers"]


@pytest.mark.parametrize("other", [0.95, float("inf")])
def test_what_is_not_faster_by_a_tenth_replaces_nothing(
    other: float, tmp_path: Path, fast_bf16: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No default is slower than the plain float32 loop."""
    monkeypatch.setattr(torch, "compile", Instant)
    plain = dict.fromkeys(("students", "teachers", "float32", "eager", "float32 by torch"), 1.0)

    class Slow(Times):
        def __call__(self, calls: Any, *rest: Any) -> dict[str, float]:
            return super().__call__(calls, *rest) | {name: other for name in calls if name not in plain}

    choice = chosen(tmp_path, Slow(plain))
    assert (choice.by, str(choice)) == ("trial", "teacher in float32 by torch, student in float32")


def test_the_fastest_wins_and_says_so(tmp_path: Path, fast_bf16: None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    times = Times({"bf16": 0.3, "bf16 by torch": 0.4, "float32 by torch": 0.8})
    with session_of(tmp_path, teacher_engine="torch", compile="none") as session:
        choice = session.choose_engines(Known(random_weights=True), times)
        assert str(choice) == "teacher in bf16 by torch, student in bf16"
        assert session.fabric.strategy.precision.precision == "bf16-mixed"
        assert session.students[0].fabric is session.fabric
        assert session.students[0].engines["by"] == "trial"
    (line,) = [line for line in caplog.messages if "by trial" in line]
    assert "teacher in bf16 by torch (" in line
    assert "bf16 300 ms" in line
    assert choice.record()["batch_s"]["student"] == {"float32": 1.0, "bf16": 0.3}
    again = Choice.of(json.loads(json.dumps(choice.record())))
    assert again.same_engines(choice)


def test_options_say_what_may_be_tried(tmp_path: Path, fast_bf16: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", Instant)

    def tried(**options: Any) -> set[str]:
        times = Times({"compiled": 9.0})
        chosen(tmp_path, times, Known(random_weights=True), **options)
        return set(times.asked) - {"students", "teachers", "eager", "compiled"}

    none = {"compile": "none", "teacher_engine": "torch"}
    assert tried(**none) == {"float32", "bf16", "float32 by torch", "bf16 by torch"}
    assert tried(**none, precision="32") == set()
    assert tried(**none, teacher_precision="32") == {"float32", "bf16"}
    if can_run("32"):
        assert tried(compile="none", precision="32") == {"float32 by torch", "float32 by OpenVINO"}
    assert tried(compile="none", method="at") == {"float32", "bf16", "float32 by torch", "bf16 by torch"}


@pytest.mark.parametrize(("seconds", "tried"), [(10.0, True), (1e-5, False)])
def test_compiling_is_charged_to_the_run(
    seconds: float, tried: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10,000,000 steps of 10 us are 100 s, of which compiling would save ten at its usual ratio, and it takes 60."""
    options = {"epochs": LONG // 4, "precision": "32", "teacher_precision": "32"}  # four steps an epoch
    times = Times({"students": seconds, "eager": seconds, "compiled": seconds / 2})
    monkeypatch.setattr(torch, "compile", Instant)
    monkeypatch.setattr("stkd.training.trial._LONG", 1.0)
    choice = chosen(tmp_path, times, **options)
    assert ("compiled" in times.asked) == tried
    assert choice.student == ("compiled" if tried else "eager")


def test_a_teacher_in_lower_precision_must_stay_itself(
    tmp_path: Path, fast_bf16: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    options = {"compile": "none", "teacher_engine": "torch"}
    monkeypatch.setattr(teacher_engines, "_KL", 1.0)
    monkeypatch.setattr(teacher_engines, "_AGREEMENT", 0.0)
    assert "teacher in bf16" in str(chosen(tmp_path, Times({"bf16 by torch": 0.5}), **options))
    monkeypatch.setattr(teacher_engines, "_AGREEMENT", 1.1)
    far = chosen(tmp_path, Times({"bf16 by torch": 0.5}), **options)
    assert "teacher in float32" in str(far)
    assert any("the teacher in bf16 by torch is too far from itself" in line for line in caplog.messages)
    asked = chosen(tmp_path, Times({"bf16 by torch": 0.5}), teacher_precision="bf16", **options)
    assert "teacher in bf16" in str(asked), "what was asked for is taken"


@needs_int8
@pytest.mark.parametrize(("agreement", "precision"), [(0.0, "int8"), (1.1, "32")])
def test_int8_is_taken_where_the_teacher_stays_itself(
    agreement: float, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_options, "fast_bfloat16", lambda device: False)
    monkeypatch.setattr(teacher_engines, "_AGREEMENT", agreement)
    monkeypatch.setattr(teacher_engines, "_KL", 1.0)
    levels = []
    compare = teacher_engines._compared

    def watched(teacher: Any, runner: Any, batches: Iterator[Tensor], temperature: float) -> Any:
        kept = list(batches)
        levels.append(torch.cat(kept).unique().numel())
        return compare(teacher, runner, iter(kept), temperature)

    monkeypatch.setattr(teacher_engines, "_compared", watched)
    times = Times({"int8 by OpenVINO": 0.1, "float32 by OpenVINO": 0.5})
    with session_of(tmp_path, compile="none") as session:
        choice = session.choose_engines(None, times)
        assert session.teacher is not None
        (record,) = session.teacher.record
    assert choice.teachers is not None
    assert (choice.teachers[0].library, choice.teachers[0].precision) == ("openvino", precision)
    assert "int8" in record
    real, virtual = levels
    assert real <= 256 < virtual  # classes are compared on images of 8 bits, not on weighted sums of them


def test_a_trial_leaves_no_trace(tmp_path: Path, fast_bf16: None) -> None:
    with session_of(tmp_path, teacher_engine="torch", compile="none") as session:
        student = session.students[0].module
        before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
        torch.manual_seed(3)
        session.choose_engines(None, Times({"bf16": 0.1}))
        drawn = torch.rand(2)
        assert all(torch.equal(before[name], tensor) for name, tensor in student.state_dict().items())
        assert all(p.grad is None for p in student.parameters())
    torch.manual_seed(3)
    assert torch.equal(drawn, torch.rand(2))


def test_the_clock_times_each_call_by_turns() -> None:
    calls = dict.fromkeys("ab", 0)

    def call(name: str) -> Callable[[], None]:
        def count() -> None:
            calls[name] += 1

        return count

    def full() -> None:
        raise torch.OutOfMemoryError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stkd.training.stopwatch._SECONDS", 1e-4)
        patch.setattr("stkd.training.stopwatch._TURN", 1e-5)
        found = timed({"a": call("a"), "b": call("b"), "c": full}, torch.device("cpu"))
    assert min(calls.values()) > 2
    assert found["c"] == float("inf")
    assert 0 < found["a"] < 1


# Runs: stored, resumed, shared.


def distil(teacher: Path, out: Path, method: str = "stkd", **options: Any) -> dict[str, Tensor]:
    """The student's weights after a tiny run."""
    package.distill(str(teacher), "cnn2", "digits", method, out=out, **{**TINY, **options})
    return load_file(out / "student.safetensors")


def engines_of(out: Path) -> list[dict[str, Any]]:
    """What env.json says of each start."""
    environment = json.loads((out / "env.json").read_text())
    return [environment["engines"], *(start["engines"] for start in environment.get("resumed", []))]


def result(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "result.json").read_text())["speed"]
    return found


def test_a_run_goes_on_with_what_it_was_begun_with(
    teacher_run: Path, tmp_path: Path, killed_at: Callable[..., Any], times: Callable[..., None], fast_bf16: None
) -> None:
    options = {"precision": "auto", "compile": "none", "teacher_engine": "torch", "checkpoint_minutes": 1e-9}
    times({"bf16": 20.0, "bf16 by torch": 90.0})
    whole = distil(teacher_run, tmp_path / "whole", **options)
    with killed_at(4):
        distil(teacher_run, tmp_path / "parts", **options)
    times({"bf16": 200.0})
    parts = distil(teacher_run, tmp_path / "parts", **options)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    begun, resumed = engines_of(tmp_path / "parts")
    assert begun["precision"] == resumed["precision"] == "bf16"
    other = distil(teacher_run, tmp_path / "other", **options)
    assert engines_of(tmp_path / "other")[0]["precision"] == "32"
    assert not all(torch.equal(whole[name], other[name]) for name in whole)


@needs_openvino
def test_an_engine_that_is_not_installed_any_more(
    teacher_run: Path, tmp_path: Path, killed_at: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    options = {"checkpoint_minutes": 1e-9, "compile": "none", "teacher_precision": "32"}
    with killed_at(4):
        distil(teacher_run, tmp_path / "run", teacher_engine="openvino", **options)
    assert engines_of(tmp_path / "run")[0]["teachers"] == [{"precision": "32", "engine": "openvino"}]
    monkeypatch.setattr(teacher_engines, "can_run", lambda precision: False)
    with pytest.raises(package.StkdError, match=r"its teacher in float32 by OpenVINO.*--teacher-engine torch, not bit"):
        distil(teacher_run, tmp_path / "run", teacher_engine="openvino", **options)
    distil(teacher_run, tmp_path / "run", teacher_engine="torch", **options)
    assert any("not bit for bit the run that was begun" in line for line in caplog.messages)
    assert engines_of(tmp_path / "run")[-1]["teachers"][0]["engine"] == "torch"
    (change,) = json.loads((tmp_path / "run" / "result.json").read_text())["changes"]
    assert change["engines_changed"]["to"] == "teacher in float32 by torch, student in float32"
    assert "it went on with teacher in float32 by torch" in (tmp_path / "run" / "README.md").read_text()


def test_a_run_of_an_earlier_version_says_what_it_goes_on_with(
    teacher_run: Path, tmp_path: Path, killed_at: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    whole = distil(teacher_run, tmp_path / "whole")
    with killed_at(4):
        distil(teacher_run, tmp_path / "parts", checkpoint_minutes=1e-9)
    environment = json.loads((tmp_path / "parts" / "env.json").read_text())
    del environment["engines"]
    (tmp_path / "parts" / "manifest.json").unlink()
    (tmp_path / "parts" / "env.json").write_text(json.dumps(environment))
    parts = distil(teacher_run, tmp_path / "parts", checkpoint_minutes=1e-9)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert any("did not record what ran it: it goes on in float32 by torch" in line for line in caplog.messages)


def test_runs_of_a_study_share_one_choice(tmp_path: Path, fast_bf16: None) -> None:
    shared = SharedChoice(tmp_path / "engines.json")
    options = {"compile": "none", "teacher_engine": "torch"}
    known = Known(shared=shared, random_weights=True)
    # without a teacher the choice is made for the students alone
    first = chosen(tmp_path, Times({"bf16": 0.1}), known, method="ce", **options)
    assert (first.precision, first.teachers) == ("bf16", ())
    times = Times({"bf16": 9.0, "bf16 by torch": 0.1})
    second = chosen(tmp_path, times, known, **options)
    assert str(second) == "teacher in bf16 by torch, student in bf16"
    assert "bf16" not in times.asked
    assert chosen(tmp_path, nobody_looks, known, **options).same_engines(second)


def test_a_study_that_looks_at_features_has_torch_run_every_teacher(tmp_path: Path) -> None:
    shared = SharedChoice(tmp_path / "engines.json", features=True)
    times = Times()
    choice = chosen(tmp_path, times, Known(shared=shared), precision="32", compile="all")
    assert str(choice) == "teacher in float32 by torch, student in float32"
    assert times.asked == []


def test_a_damaged_choice_of_a_study(tmp_path: Path) -> None:
    (tmp_path / "engines.json").write_text("{")
    with pytest.raises(package.StkdError, match=r"engines\.json is damaged; delete it"):
        chosen(tmp_path, nobody_looks, Known(shared=SharedChoice(tmp_path / "engines.json")), epochs=1)


def test_runs_beside_each_other_must_have_begun_alike(
    teacher_run: Path, tmp_path: Path, killed_at: Callable[..., Any], fast_bf16: None, times: Callable[..., None]
) -> None:
    options = {**TINY, "precision": "auto", "compile": "none", "checkpoint_minutes": 1e-9, "data_seed": 0}
    options["teacher_engine"] = "torch"
    for name, seconds in (("a", 20.0), ("b", 200.0)):
        times({"bf16": seconds})
        with killed_at(4):
            package.distill(str(teacher_run), "cnn2", "digits", out=tmp_path / name, **options)
    students = {name: {"student": "cnn2"} for name in "ab"}
    with pytest.raises(package.StkdError, match=r"a was begun with .* in bf16, b with .*run them apart"):
        package.distill_many(str(teacher_run), students, "digits", out=tmp_path, **options)  # type: ignore[arg-type]


def test_a_cache_is_completed_by_what_began_it(
    teacher_run: Path, tmp_path: Path, fast_bf16: None, times: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_engines, "_AGREEMENT", 0.0)
    options = {**TINY, "precision": "auto", "compile": "none", "teacher_engine": "torch"}
    times({"bf16 by torch": 20.0})
    made = package.cache_teacher(str(teacher_run), "digits", out=tmp_path / "cache", **options)
    assert made.header.precision == "bf16"
    times({"bf16 by torch": 200.0})
    longer = package.cache_teacher(str(teacher_run), "digits", out=tmp_path / "cache", **{**options, "epochs": 3})
    assert (longer.header.precision, longer.written) == ("bf16", 1)
    again = {**options, "teacher_precision": "32"}
    with pytest.raises(package.StkdError, match="was made with the teacher's precision bf16, here it is 32"):
        package.cache_teacher(str(teacher_run), "digits", out=tmp_path / "cache", **again)


# Single engines.


@pytest.mark.parametrize(
    ("asked", "student", "teacher"),
    [("all", "compiled", "compiled"), ("teacher", "eager", "compiled"), ("none", "eager", "eager")],
)
def test_what_is_asked_for(asked: str, student: str, teacher: str, teacher_run: Path, tmp_path: Path) -> None:
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


class Broken(nn.Module):
    """What torch.compile gives where there is no compiler."""

    def __init__(self, module: nn.Module, **_: Any) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Tensor:
        self.module(images)
        raise RuntimeError("no C++ compiler\nand a long traceback")


def test_compiler_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch, "compile", Broken)
    student = models.create("cnn2", num_classes=4)
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    assert compiled(student, torch.randn(4, 3, 8, 8), answer) == (student, "eager")
    assert caplog.messages == ["compiling failed, so this run goes uncompiled (RuntimeError: no C++ compiler)"]
    assert all(torch.equal(before[name], tensor) for name, tensor in student.state_dict().items())
    assert all(p.grad is None for p in student.parameters())


def test_a_compiled_run_where_the_compiler_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", Broken)
    with session_of(tmp_path, compile="all") as session:
        choice = session.choose_engines(None, Times())
        assert str(choice) == "teacher in float32 by torch, student in float32", "a new run goes on uncompiled"
    kept = dataclasses.replace(choice, student="compiled")
    with pytest.raises(package.StkdError, match=r"its student compiled, .*--compile none"):
        chosen(tmp_path, nobody_looks, Known(kept=kept))
    gone_on = chosen(tmp_path, nobody_looks, Known(kept=kept, changed=("compile",)), compile="none")
    assert gone_on.student == "eager"


@needs_int8
def test_engine_answers_as_its_model() -> None:
    torch.manual_seed(0)
    model = models.create("cnn4", num_classes=4).eval()
    batches = [torch.randn(8, 3, 16, 16) for _ in range(4)]
    with torch.no_grad():
        expected = model(batches[0])
    for precision, tolerance in (("32", 1e-5), ("bf16", 0.05), ("int8", 0.1)):
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
def test_int8_with_real_rows_beside_virtual_ones(tmp_path: Path) -> None:
    options = {"teacher_precision": "int8", "precision": "32", "compile": "none", "beside": True}
    with session_of(tmp_path, **options) as session:
        session.choose_engines(None, nobody_looks)
        assert session.teacher is not None
        assert session.teacher(next(session.loader.epoch(0))).shape == (16, 4)
        assert "int8" in session.teacher.record[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "at", "teacher_precision": "int8"}, "'at' looks at the teacher's features"),
        ({"method": "at", "teacher_engine": "openvino"}, "'at' looks at the teacher's features"),
        ({"teacher_precision": "int8", "teacher_engine": "torch"}, "an int8 teacher runs in OpenVINO"),
        (
            {"teacher_engine": "openvino", "mix_until": 0.5, "beside": True, "epochs": 4},
            "batches of one size, and --mix-until --beside change it",
        ),
    ],
)
def test_what_is_not_possible_is_said(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(package.StkdError, match=words):
        chosen(tmp_path, nobody_looks, **options)


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stkd.teachers.openvino.can_run", lambda precision: False)
    for options in ({"teacher_precision": "int8"}, {"teacher_engine": "openvino"}):
        with pytest.raises(package.StkdError, match=r"pip install 'stkd\[openvino\]'"):
            chosen(tmp_path, nobody_looks, precision="32", compile="none", **options)


def test_real_rows_beside_virtual_ones_are_work_too() -> None:
    config = DistillConfig(data="digits", student="cnn2", out=Path("unused"), epochs=3)
    data, student = package.open_data("digits"), models.create("cnn2", num_classes=10, in_channels=1)
    mixup = Mix(kind="mixup", instances=2)
    plain = work_of(config, student, None, data, mixup)
    assert plain == 3 * macs(student.eval(), 1, 8) * 3 * 21 * 64, "1,297 images are 21 batches, the last one made full"
    assert work_of(config, student, None, data, dataclasses.replace(mixup, beside=True)) == 2 * plain


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


@pytest.mark.slow
@needs_int8
def test_a_signal_after_engines_does_not_end_the_process(teacher_run: Path, tmp_path: Path) -> None:
    """An int8 engine that is given up, engines of several teachers, and those of the run before."""
    script = """
import signal, sys
import stkd
from stkd.teachers import engines
from stkd.training import engine_options, session, trial
from stkd.training import engines as of_training
engine_options.fast_bfloat16 = lambda device: True
of_training._TRIAL_FROM = {"cpu": 0.0}
seconds = {"int8 by OpenVINO": 1.0, "bf16 by OpenVINO": 50.0, "float32 by OpenVINO": 80.0}
def times(calls, *_):
    for call in calls.values():
        call()
    return {name: seconds.get(name, 100.0) for name in calls}
session.timed = times
heard = []
signal.signal(signal.SIGTERM, lambda *_: heard.append(True))
teacher, out = sys.argv[1:]
options = {"epochs": 1, "train_images": 64, "batch_size": 16, "accelerator": "cpu", "compile": "none"}
for run, agreement in enumerate((1.1, 0.0)):
    engines._AGREEMENT, engines._KL = agreement, 1.0
    result = stkd.distill(teacher, "cnn2", "digits", out=f"{out}/{run}", more_teachers=[teacher], **options)
    print([record["precision"] + record["engine"] for record in result.scores["speed"]["teachers"]])
    signal.raise_signal(signal.SIGTERM)
assert len(heard) == 2
"""
    argv = [sys.executable, "-c", script, str(teacher_run), str(tmp_path / "out")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    exact, small = "['32openvino', '32openvino']", "['int8openvino', 'int8openvino']"
    assert done.stdout.splitlines() == [exact, small]
