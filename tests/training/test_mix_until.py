"""Mixing for a share of the run, and labels of real rows alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import stkd
from stkd.core.errors import StkdError
from stkd.data import open_data
from stkd.data.loader import TrainLoader
from stkd.mixing import Mix

SHORT: dict[str, Any] = {"train_images": 128, "precision": "32", "accelerator": "cpu", "compile": "none"}


def loader(mix: Mix, mixed_epochs: int | None) -> TrainLoader:
    data = open_data("digits")
    how: dict[str, Any] = {"augmentation": "none", "seed": 0, "device": torch.device("cpu")}
    return TrainLoader(data, batch_size=64, mix=mix, mixed_epochs=mixed_epochs, **how)


def test_images_stay_real_after_the_last_mixed_epoch() -> None:
    mixed, plain, always = loader(Mix(), 2), loader(Mix("none", 1), None), loader(Mix(), None)
    for epoch in range(4):
        batch = next(mixed.epoch(epoch))
        expected = next((always if epoch < 2 else plain).epoch(epoch))
        assert torch.equal(batch.images, expected.images)
        assert torch.equal(batch.targets, expected.targets)
        assert batch.real == (0 if epoch < 2 else 64)


def test_rows_beside_are_left_out_when_nothing_is_mixed() -> None:
    batches = [next(loader(Mix(beside=True), 1).epoch(epoch)) for epoch in (0, 1)]
    assert [(len(b.images), b.real) for b in batches] == [(128, 64), (64, 64)]


@pytest.mark.parametrize("options", [{"mix_until": 0.5}, {"mix_until": 0.5, "beside": True}])
def test_a_resumed_run_is_the_same(options: dict[str, Any], teacher_run: Path, tmp_path: Path, killed_at: Any) -> None:
    method = "stkd:labels=real"

    def weights(out: Path) -> dict[str, torch.Tensor]:
        stkd.distill(str(teacher_run), "cnn2", "digits", method, out=out, epochs=4, **options, **SHORT)
        return load_file(out / "student.safetensors")

    whole = weights(tmp_path / "whole")
    for step in (3, 5):
        with killed_at(step):
            weights(tmp_path / f"killed{step}")
        resumed = weights(tmp_path / f"killed{step}")
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_cached_logits_are_those_of_the_same_samples(teacher_run: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"epochs": 4, "mix_until": 0.5, **SHORT}
    stkd.cache_teacher(str(teacher_run), "digits", out=tmp_path / "cache", **how)
    live = stkd.distill(str(teacher_run), "cnn2", "digits", out=tmp_path / "live", **how)
    cached = stkd.distill(None, "cnn2", "digits", out=tmp_path / "cached", teacher_cache=tmp_path / "cache", **how)
    one, other = (load_file(run.out / "student.safetensors") for run in (live, cached))
    assert all(torch.allclose(one[name], other[name], atol=1e-3) for name in one if one[name].is_floating_point())
    how["mix_until"] = 0.75
    with pytest.raises(StkdError, match=r"--mix-until 0\.5 of 4 epochs, here it is 0\.75"):
        stkd.distill(None, "cnn2", "digits", out=tmp_path / "other", teacher_cache=tmp_path / "cache", **how)


def test_labels_of_real_rows_alone(teacher_run: Path, tmp_path: Path, metrics: Any) -> None:
    """While all rows are mixed no label is looked at; the rows that stay real have theirs."""
    how: dict[str, Any] = {"epochs": 2, "mix_until": 0.5, **SHORT}
    run = stkd.distill(str(teacher_run), "cnn2", "digits", "stkd:labels=real", out=tmp_path / "run", **how)
    first, second = metrics(run.out)
    assert first["train_ce"] == 0
    assert second["train_ce"] > 0


@pytest.mark.parametrize(
    ("method", "options", "words"),
    [
        ("stkd", {"mix_until": 1.5}, "a share of the run"),
        ("stkd", {"mix_until": -0.5}, "a share of the run"),
        ("stkd", {"mix_until": float("nan")}, "must be finite"),
        ("kd", {"mix_until": 0.5}, "no virtual samples"),
        ("stkd", {"mix_until": 0.5, "sample_epochs": 1}, "leave out sample_epochs"),
        ("stkd:labels=real", {}, "all are mixed; add --real"),
        ("stkd:labels=reel", {}, "did you mean real"),
    ],
)
def test_contradictions_get_one_line(
    method: str, options: dict[str, Any], words: str, teacher_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(StkdError, match=words) as error:
        stkd.distill(str(teacher_run), "cnn2", "digits", method, out=tmp_path / "run", epochs=2, **options, **SHORT)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("share", "epochs", "mixed"), [(1.0, 10, None), (0.8, 10, 8), (0.0, 10, 0), (0.5, 3, 2)])
def test_epochs_are_counted_from_the_share(share: float, epochs: int, mixed: int | None) -> None:
    assert Mix(until=share).mixed_epochs(epochs) == mixed
    assert Mix(kind="none", instances=1, until=share).mixed_epochs(epochs) is None
