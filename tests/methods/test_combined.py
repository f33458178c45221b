"""Sums of methods."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import stkd
from stkd import models
from stkd.data import open_data
from stkd.data.loader import TrainLoader
from stkd.methods import Method, Setup, Tapped, View, parse, resolve_mix
from stkd.mixing import Mix

BATCH = 12


@pytest.fixture(scope="module")
def seen() -> View:
    """A batch of real digits with logits and pooled features of nobody in particular."""
    data = open_data("digits", train_images=100)
    loader = TrainLoader(
        data, batch_size=BATCH, mix=Mix("none", 1), augmentation="none", seed=0, device=torch.device("cpu")
    )
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(BATCH, 10, generator=generator) * 3 for _ in range(2))
    features = [Tapped(pooled=(torch.randn(BATCH, size, generator=generator),)) for size in (4, 16)]
    return View(next(iter(loader.epoch(0))), student, teacher, *features)


def built(method: Method, seen: View) -> nn.Module | None:
    torch.manual_seed(0)
    labels = torch.arange(100) % 10
    return method.build(Setup(seen.student_features, seen.teacher_features, nn.Identity(), labels))


def named(spec: str, seen: View) -> dict[str, float]:
    """Values of a method's losses, with extra modules and random draws that depend on the method alone."""
    method = parse(spec)
    view = View(
        seen.batch, seen.student, seen.teacher, seen.student_features, seen.teacher_features, built(method, seen)
    )
    torch.manual_seed(0)
    return {name: value.item() for name, value in method.losses(view).items()}


def test_losses_are_those_of_the_parts(seen: View) -> None:
    both = named("cc:weight=3+kd:weight=0.5", seen)
    assert both == {**named("cc:weight=3", seen), **named("kd:weight=0.5", seen)}
    assert set(both) == {"cc", "kl"}
    crd = named("crd:negatives=8+kd", seen)
    assert crd == {**named("crd:negatives=8", seen), **named("kd", seen)}


def test_every_part_has_its_own_extra_modules(seen: View) -> None:
    extras = built(parse("cc:dim=2+kd+crd:negatives=8,dim=3"), seen)
    assert isinstance(extras, nn.ModuleDict)
    assert set(extras) == {"0", "2"}
    assert extras["0"].student.out_features == 2
    assert extras["2"]["memory"].student_bank.shape == (100, 3)
    assert built(parse("kd+dist"), seen) is None


def test_equal_names_of_losses_are_told_apart(seen: View) -> None:
    both = named("kd:temperature=2+kd:temperature=3", seen)
    assert both == {"kl": named("kd:temperature=2", seen)["kl"], "kl_1": named("kd:temperature=3", seen)["kl"]}


@pytest.mark.parametrize(
    ("spec", "label_weight"),
    [
        ("crd+kd", 1.0),
        ("crd+kd:weight=1", 1.0),
        ("kd:weight=0.3+stkd:weight=0.8", 0.7),
        ("kd:weight=1+fm", 0.0),
        ("dist+stkd:beta=2", 1.0),
    ],
)
def test_labels_count_once_with_the_largest_weight(spec: str, label_weight: float) -> None:
    assert parse(spec).label_weight == pytest.approx(label_weight)


def test_needs_are_those_of_all_parts() -> None:
    method = parse("dist+stkd:beta=2,weight=1")
    assert method.uses_teacher
    assert method.needs_labels
    assert method.needs == frozenset()
    assert parse("crd+at+reviewkd").needs == {"pooled", "stages", "preact"}
    assert not parse("ce+mixup").uses_teacher
    assert not parse("kd:weight=1+stkd:weight=1").needs_labels
    assert parse("kd:weight=1+stkd:weight=1,beta=0").needs_labels


def test_virtual_samples_are_those_of_the_first_part_that_has_some() -> None:
    assert resolve_mix(parse("dist+fm")) == Mix(per_sample=True, largest_first=True)
    assert resolve_mix(parse("dist+kd")) == Mix("none", 1)
    assert resolve_mix(parse("dist+kd"), kind="cutmix", instances=3) == Mix("cutmix", 3)
    assert resolve_mix(parse("crd+stkd"), beside=True) == Mix(beside=True)
    with pytest.raises(stkd.StkdError, match="keep real ones with --beside true"):
        resolve_mix(parse("crd+stkd"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("crd+kdd", "unknown method 'kdd'; did you mean"),
        ("dist+stkd:bta=2", "unknown option of method stkd 'bta'; did you mean beta"),
        ("kd+ft", "methods of two stages cannot be combined with others; run them alone"),
        ("ab+fsp", "methods of two stages cannot be combined"),
        ("kd+", r"unknown method|must be|no value"),
    ],
)
def test_refused(spec: str, words: str) -> None:
    with pytest.raises(stkd.StkdError, match=words) as caught:
        parse(spec)
    assert "\n" not in str(caught.value)


def test_exponents_are_no_sums() -> None:
    assert parse("pkt:weight=1e+3") == parse("pkt:weight=1000")


@pytest.mark.parametrize("spec", ["crd:negatives=8+kd:weight=1", "dist+stkd:beta=2", "at+sp+vid"])
def test_trains(spec: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    teacher = models.create("cnn16", num_classes=10, in_channels=1, image_size=8)
    options = {"epochs": 4, "train_images": 64, "batch_size": 16, "lr": 0.02, "precision": "32", "accelerator": "cpu"}
    stkd.distill(teacher, "cnn4", "digits", spec, out=tmp_path / "run", **options)
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    parts = {"crd": "crd", "kd": "kl", "stkd": "kl"}
    expected = {f"train_{parts.get(name, name)}" for name in (part.partition(":")[0] for part in spec.split("+"))}
    found = {name for name in rows[0] if name.startswith("train_")}
    assert found == expected | {"train_loss", "train_ce", "train_accuracy"}
    assert rows[0]["train_loss"] == pytest.approx(sum(rows[0][name] for name in expected | {"train_ce"}))
