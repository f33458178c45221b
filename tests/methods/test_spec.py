from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from stkd.core.errors import StkdError
from stkd.methods import parse, resolve_mix
from stkd.mixing import Mix

NONE = Mix("none", 1)


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("kd", {}),
        ("kd:temperature=2", {"temperature": 2.0}),
        ("kd:temperature=2e0,weight=1", {"temperature": 2.0, "weight": 1.0}),
        ("kd:standardize=true", {"standardize": True}),
        ("kd:divergence=js", {"divergence": "js"}),
        ("kd:", {}),
        ("stkd:beta=1e-3", {"beta": 1e-3}),
        ("stkd:beta=null", {"beta": None}),
        ("stkd:beta=none", {"beta": None}),
        ("stkd:beta=None,weight=0.5", {"beta": None, "weight": 0.5}),
        ("pkt:weight=2", {"weight": 2.0}),
        ("dkd:alpha=2", {"alpha": 2.0}),
    ],
)
def test_parsed(spec: str, options: dict[str, Any]) -> None:
    """What is given is set, all else is the method's default."""
    method = parse(spec)
    assert method == dataclasses.replace(type(method)(), **options)


def test_defaults_of_the_family() -> None:
    kd, stkd, fm = parse("kd"), parse("stkd"), parse("fm")
    assert dataclasses.asdict(kd) == {
        "weight": 0.9,
        "ce": None,
        "temperature": 4.0,
        "standardize": False,
        "divergence": "kl",
    }
    assert dataclasses.asdict(stkd) == {**dataclasses.asdict(kd), "beta": None, "inter": 0.0, "labels": "all"}
    assert dataclasses.asdict(fm) == {**dataclasses.asdict(kd), "temperature": 1.0, "weight": 1.0}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("", "unknown method ''"),
        ("stdk", "unknown method 'stdk'; did you mean stkd"),
        ("kd:temprature=2", "unknown option of method kd 'temprature'; did you mean temperature"),
        ("kd:beta=2", "unknown option of method kd 'beta'"),
        ("kd:temperature", "has no value; write kd:temperature=VALUE"),
        ("kd:temperature=", "option temperature of method kd must be float, got ''"),
        ("kd:temperature=hot", "must be float, got 'hot'"),
        ("kd:standardize=1", "must be bool, got '1'"),
        ("stkd:beta=much", "must be float or none, got 'much'"),
        ("kd:temperature=[", r"must be float, got '\['"),
        ("kd:temperature=-1", "temperature must be a positive number, got -1"),
        ("dkd:temperature=0", "temperature must be a positive number"),
        ("dkd:beta=-1", "beta must be zero or a positive number"),
        ("kd:weight=1.5", "weight must lie between 0"),
        ("at:weight=-1", "weight must be zero or a positive number, got -1"),
        ("at:weight=inf", "weight must be zero or a positive number"),
        ("stkd:beta=nan", "beta must be zero or a positive number"),
        ("kd:temperature=inf", "temperature must be a positive number"),
        ("fitnet:stage=-1", "stage must be zero or a positive number"),
        ("crd:negatives=0", "negatives must be a positive number"),
        ("crd:negatives=1000000", "negatives must be at most 131,072, got 1,000,000"),
        ("crd:dim=1000000000000", "dim must be at most"),
        ("crd:dim=5000", "dim must be at most 4096, got 5000"),
        ("kd:temperature=1e300", "temperature must be at most 100,000, got 1e.300"),
        ("rld:confidence_temperature=0", "confidence_temperature must be a positive number"),
        ("stkd:beta=1e300", "beta must be at most 1,000,000,000"),
        ("kd:weight=0.5,weight=0.9", "option weight of method kd is given twice"),
        ("cc:dim=0", "dim must be a positive number"),
        ("ft:preparation=2", "preparation must lie between 0 and 1"),
        ("crd+dkd:warmup=1.5", "warmup must lie between 0 and 1"),
    ],
)
def test_refused(spec: str, words: str) -> None:
    with pytest.raises(StkdError, match=words) as caught:
        parse(spec)
    assert "\n" not in str(caught.value)


def test_values_of_any_length_are_refused() -> None:
    with pytest.raises(StkdError, match="option negatives of method crd must be int"):
        parse("crd:negatives=" + "9" * 5000)
    with pytest.raises(StkdError, match="option temperature of method kd must be float"):
        parse("kd:temperature=" + "[" * 20_000)


@pytest.mark.parametrize(
    ("spec", "asked", "expected"),
    [
        ("ce", {}, NONE),
        ("kd", {}, NONE),
        ("mixup", {}, Mix("mixup", 2)),
        ("stkd", {}, Mix("mixup", 2)),
        ("fm", {}, Mix("mixup", 2, per_sample=True, largest_first=True)),
        ("stkd", {"kind": "none"}, NONE),
        ("stkd", {"instances": 1}, NONE),
        ("stkd", {"instances": 4, "alpha": 0.5}, Mix("mixup", 4, 0.5)),
        ("stkd", {"kind": "cutmix"}, Mix("cutmix", 2)),
        ("stkd", {"beside": True}, Mix("mixup", 2, beside=True)),
        ("stkd", {"real": 0.25}, Mix("mixup", 2, real=0.25)),
        ("fm", {"per_sample": False}, Mix("mixup", 2, largest_first=True)),
        ("kd", {"kind": "mixup"}, Mix("mixup", 2)),
        ("kd", {"kind": "cutmix", "instances": 3}, Mix("cutmix", 3)),
        ("kd", {"instances": 1}, NONE),
        ("kd", {"kind": "none", "instances": 1}, NONE),
    ],
)
def test_virtual_samples_of_a_run(spec: str, asked: dict[str, Any], expected: Mix) -> None:
    everything = dict.fromkeys(("kind", "instances", "alpha", "per_sample", "real", "beside"))
    assert resolve_mix(parse(spec), **{**everything, **asked}) == expected


@pytest.mark.parametrize(
    ("spec", "asked", "words"),
    [
        ("kd", {"alpha": 2.0}, "alpha set, but there are no virtual samples here; add --mix mixup"),
        ("kd", {"instances": 2}, "instances set"),
        ("stkd", {"kind": "none", "alpha": 1.0, "real": 0.5}, "alpha, real set"),
        ("stkd", {"real": 0.5, "beside": True}, "give one of the two"),
        ("stkd", {"instances": 0}, "instances must be 1 or more"),
    ],
)
def test_choices_that_contradict(spec: str, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(StkdError, match=words):
        resolve_mix(parse(spec), **asked)
