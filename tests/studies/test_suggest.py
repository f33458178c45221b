"""Students for limits: what is measured, what is proposed, what is said where none meets them. No clock decides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
from torch import nn

from stkd import models
from stkd.core.config import CheckConfig
from stkd.core.errors import StkdError
from stkd.evaluation import macs, parameters
from stkd.models import models as zoo
from stkd.studies.suggest import suggestion as module
from stkd.studies.suggest.candidates import candidates_for
from stkd.studies.suggest.limits import Limits
from stkd.studies.suggest.suggestion import suggest


def by_macs(model: nn.Module, channels: int, size: int) -> list[float]:
    """Three passes of a machine that does a million MACs in a millisecond, one of them disturbed."""
    ms = macs(model, channels, size) / 1e6
    return [ms, ms, 3 * ms]


FEW = ("resnet8", "MobileNetV2", "resnet14", "resnet20", "wrn_40_1")


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five candidates, which are measured in no time."""
    listed = candidates_for(32)
    some = replace(listed, models=tuple(one for one in listed.models if one.model in FEW))
    monkeypatch.setattr(module, "candidates_for", lambda size: some)
    monkeypatch.setattr(module, "_time", by_macs)


def config(**options: Any) -> CheckConfig:
    return CheckConfig(**{"data": "digits", "image_size": 16, "accelerator": "cpu", **options})


@pytest.mark.usefixtures("few")
def test_the_most_accurate_that_meet_the_limit() -> None:
    found = suggest(config(), Limits.of("12ms"))
    assert [one.model for one in found.candidates] == [*reversed(FEW)]
    assert found.proposed == [one for one in found.candidates if one.macs <= 12e6][:3]
    assert [one.model for one in found.proposed] == ["resnet20", "resnet14", "MobileNetV2"]
    assert found.nearest is None
    assert (found.size, found.channels, found.classes, found.benchmark) == (16, 1, 10, "CIFAR-100")


@pytest.mark.usefixtures("few")
def test_what_a_candidate_costs() -> None:
    found = suggest(config(), Limits.of(size="1GB"))
    costs = next(one for one in found.candidates if one.model == "resnet8")
    model = models.create("resnet8", num_classes=10, in_channels=1).eval()
    assert (costs.params, costs.macs) == (parameters(model), macs(model, 1, 16))
    assert costs.file_bytes == sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert costs.latency_ms == pytest.approx(costs.macs / 1e6, abs=1e-3)
    assert costs.latency_spread_ms == pytest.approx((costs.latency_ms, 2 * costs.latency_ms), abs=1e-3)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_all_limits_hold_together() -> None:
    both = suggest(config(), Limits.of("12ms", "1MB"))
    assert [one.model for one in both.proposed] == ["resnet14", "resnet8"]
    assert all(one.latency_ms <= 12 and one.file_bytes <= 1e6 for one in both.proposed)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_no_student_is_as_large_as_the_teacher(teacher_run: Path) -> None:
    found = suggest(config(teacher="resnet20"), Limits.of("1s"))
    assert found.teacher is not None
    assert found.teacher.macs == macs(models.create("resnet20", num_classes=10, in_channels=1).eval(), 1, 16)
    assert {one.model for one in found.candidates} == {"resnet8", "resnet14", "MobileNetV2"}
    with pytest.raises(StkdError, match="no candidate is smaller than the teacher cnn4"):
        suggest(config(teacher_weights=teacher_run), Limits.of("1s"))


@pytest.mark.usefixtures("few")
def test_a_limit_that_none_meets(stkd: Any) -> None:
    command = ("suggest", "--data", "digits", "--image-size", 16, "--latency", "1us", "--accelerator", "cpu")
    answer = stkd(*command)
    assert answer.code == 1
    least = min((macs(models.create(name, num_classes=10, in_channels=1).eval(), 1, 16), name) for name in FEW)
    assert f"none of 5 candidates meets 0.001 ms; {least[1]} is the nearest" in answer.out
    found = json.loads(stkd(*command, "--json").out)
    assert (found["proposed"], found["nearest"]["model"]) == ([], least[1])


@pytest.mark.usefixtures("few")
def test_table_and_json(stkd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    command = ("suggest", "--data", "digits", "--macs", "2M", "--teacher", "resnet56", "--accelerator", "cpu")
    answer = stkd(*command)
    assert (answer.code, answer.err) == (0, "stkd: note: timing 5 candidates on images of 8 pixels\n")
    found = json.loads(stkd(*command, "--json").out)
    assert len(found["proposed"]) == 3
    assert all(one["macs"] <= 2e6 for one in found["proposed"])
    for one in found["proposed"]:
        assert f" {one['model']} " in answer.out
    assert "(teacher) resnet56" in answer.out
    assert "meet 2 M MACs" in answer.out


@pytest.mark.usefixtures("few")
def test_a_busy_machine_is_said() -> None:
    quiet = suggest(config(), Limits.of("1s"), timer=lambda *_: [1.0, 1.01, 1.02, 1.03, 9.0])
    assert not quiet.disturbed
    assert suggest(config(), Limits.of("1s"), timer=lambda *_: [1.0, 1.1, 1.4, 1.7, 2.0]).disturbed
    assert not suggest(config(), Limits.of("1s"), timer=lambda *_: [900.0]).disturbed


def test_clock_of_this_machine() -> None:
    passes = module._time(nn.Flatten(), 1, 8)
    assert len(passes) == 50
    assert min(passes) > 0


@pytest.mark.parametrize(
    ("flag", "text", "value"),
    [
        ("latency", "5ms", 5.0),
        ("latency", "0.25 s", 250.0),
        ("latency", "40us", 0.04),
        ("size", "2MB", 2e6),
        ("size", "1.5mib", 1.5 * 2**20),
        ("size", "300kB", 3e5),
        ("macs", "50M", 5e7),
        ("macs", "1.2g", 1.2e9),
        ("macs", "800000", 8e5),
    ],
)
def test_units(flag: str, text: str, value: float) -> None:
    limits = Limits.of(**{flag: text})
    assert [limit for limit in vars(limits).values() if limit is not None] == [pytest.approx(value)]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "give --latency 5ms, --size 2MB or --macs 50M"),
        (["--latency", "5"], "--latency 5 has no unit; write it like 5ms"),
        (["--latency", "5MB"], "no number with a unit; write it like 5ms (units: us, ms, s)"),
        (["--size", "small"], "write it like 2MB"),
        (["--size=-2MB"], "write it like 2MB"),
        (["--macs", "nan"], "write it like 50M"),
        (["--macs", "0M"], "--macs must be more than 0, got 0M"),
        (["--macs", "9" * 5000], "write it like 50M"),
        (["--latency", "5ms", "--teacher", "resnet21"], "did you mean"),
    ],
)
def test_nonsense_is_one_line(flags: list[str], words: str, stkd: Any) -> None:
    answer = stkd("suggest", "--data", "digits", *flags)
    assert (answer.code, answer.err.count("\n"), answer.out) == (2, 1, "")
    assert words in answer.err


def test_candidates_exist_and_are_in_order() -> None:
    for size in (32, 224):
        listed = candidates_for(size).models
        known = [candidate.accuracy for candidate in listed if candidate.accuracy is not None]
        assert known == sorted(known)
        for candidate in listed:
            name = candidate.model.removeprefix("timm/")
            assert timm.is_model(name) if name != candidate.model else name in zoo


@pytest.mark.slow
def test_photos(pictures: Path) -> None:
    """Every candidate is built, also at a size that timm's networks are not made for."""
    assert len(suggest(config(), Limits.of("1s"), timer=by_macs).candidates) == len(candidates_for(16).models)
    found = suggest(config(data=f"folder:{pictures}", image_size=72), Limits.of(macs="100M"), timer=by_macs)
    assert found.benchmark == "ImageNet"
    assert len(found.candidates) == len(candidates_for(72).models)
    assert len(found.proposed) == 3
