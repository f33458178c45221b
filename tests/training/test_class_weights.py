"""Class weights in the cross-entropy, and in a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import stkd
from stkd.losses import cross_entropy
from stkd.runs.directory import read_metrics

WEIGHTS = torch.tensor([0.5, 1.0, 4.0])
LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)).double()
HARD = torch.tensor([0, 1, 2, 2, 0, 1])
MIXED = torch.rand(6, 3, generator=torch.Generator().manual_seed(1)).double().softmax(1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_hard_labels_are_torchs(smoothing: float) -> None:
    reference = F.cross_entropy(LOGITS, HARD, weight=WEIGHTS.double(), label_smoothing=smoothing)
    for labels in (HARD, F.one_hot(HARD, 3).double()):
        found = cross_entropy(LOGITS, labels, label_smoothing=smoothing, class_weights=WEIGHTS)
        torch.testing.assert_close(found, reference)


def test_mixed_labels_are_the_mixture_by_the_total_weight() -> None:
    parts = -(WEIGHTS.double() * MIXED * LOGITS.log_softmax(1)).sum() / (WEIGHTS.double() * MIXED).sum()
    torch.testing.assert_close(cross_entropy(LOGITS, MIXED, class_weights=WEIGHTS), parts)
    # torch divides by the number of rows
    by_rows = F.cross_entropy(LOGITS, MIXED, weight=WEIGHTS.double())
    torch.testing.assert_close(parts * (MIXED @ WEIGHTS.double()).sum() / 6, by_rows)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_rows_without_labels_do_not_count(smoothing: float) -> None:
    ones = torch.ones(3)
    targets = torch.cat([MIXED[:3], 0.25 * MIXED[3:4], torch.zeros(2, 3).double()])
    rows = [cross_entropy(LOGITS[i : i + 1], MIXED[i : i + 1], label_smoothing=smoothing) for i in range(4)]
    expected = (rows[0] + rows[1] + rows[2] + 0.25 * rows[3]) / 3.25
    torch.testing.assert_close(cross_entropy(LOGITS, targets, label_smoothing=smoothing, class_weights=ones), expected)
    assert cross_entropy(LOGITS[4:], targets[4:], label_smoothing=smoothing, class_weights=ones) == 0


def test_equal_weights_change_nothing() -> None:
    for labels in (HARD, MIXED):
        found = cross_entropy(LOGITS, labels, class_weights=torch.full((3,), 7.0), label_smoothing=0.2)
        torch.testing.assert_close(found, cross_entropy(LOGITS, labels, label_smoothing=0.2))


SMALL = {"epochs": 1, "batch_size": 64, "precision": "32", "accelerator": "cpu", "lr": 1e-12}


@pytest.fixture
def unequal() -> tuple[Any, Any]:
    """36 images of class 0 and 4 of class 1, so that a run of one step sees all."""
    labels = np.array([0] * 36 + [1] * 4)
    pixels = np.random.default_rng(0).integers(0, 99, (40, 8, 8), dtype=np.uint8) + labels[:, None, None] * 99
    return pixels.astype(np.uint8), labels


def test_in_a_run(unequal: Any, tmp_path: Path) -> None:
    """The first loss is the weighted one, of the teacher's part none; the same by a file of these weights."""
    options = {**SMALL, "augment": "none"}
    data = {"train": unequal, "test": unequal}
    teacher = stkd.models.create("cnn4", num_classes=2, in_channels=1)
    runs = {}
    (tmp_path / "w.json").write_text(json.dumps({"0": 40 / 72, "1": 5}))
    for name, weights in (("plain", None), ("balanced", "balanced"), ("file", str(tmp_path / "w.json"))):
        out = tmp_path / name
        result = stkd.distill(teacher, "cnn2", data, "kd", out=out, class_weights=weights, preflight="off", **options)
        runs[name] = read_metrics(result.out)[0]
    student = stkd.load(tmp_path / "plain")[0].eval().train()
    opened = stkd.data_from(data)
    images = (torch.from_numpy(unequal[0])[:, None].float() / 255 - opened.mean[0]) / opened.std[0]
    loss = F.cross_entropy(student(images), torch.from_numpy(unequal[1]), weight=torch.tensor([40 / 72, 5.0])).item()
    assert runs["balanced"]["train_ce"] == pytest.approx(0.1 * loss, rel=1e-4)
    assert runs["file"]["train_ce"] == pytest.approx(runs["balanced"]["train_ce"], rel=1e-6)
    assert runs["plain"]["train_ce"] != pytest.approx(runs["balanced"]["train_ce"], rel=1e-3)
    assert runs["plain"]["train_kl"] == pytest.approx(runs["balanced"]["train_kl"], rel=1e-6)


def test_the_peer_of_dml_has_the_same_weights(unequal: Any, tmp_path: Path) -> None:
    """From the mean loss of each class, had by weights that leave the other out, follows that of any weights."""

    data = {"train": unequal, "test": unequal}

    def first_losses(name: str, weights: tuple[float, float] | None) -> tuple[float, float]:
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(dict(enumerate(weights or ()))))
        options = {**SMALL, "augment": "none", "preflight": "off"}
        options["class_weights"] = None if weights is None else str(file)
        row = read_metrics(stkd.train("cnn2", data, method="dml", out=tmp_path / name, **options).out)[0]
        return row["train_ce"], row["train_peer_ce"]

    found = {
        name: first_losses(name, weights)
        for name, weights in {"plain": None, "first": (1, 1e-9), "second": (1e-9, 1), "both": (2, 6)}.items()
    }
    for first, second, plain, both in zip(*(found[name] for name in ("first", "second", "plain", "both")), strict=True):
        assert first != pytest.approx(second, rel=1e-2)
        assert plain == pytest.approx((36 * first + 4 * second) / 40, rel=1e-4)
        assert both == pytest.approx((72 * first + 24 * second) / 96, rel=1e-4)


def test_another_file_is_another_run(unequal: Any, tmp_path: Path, killed_at: Any) -> None:
    file = tmp_path / "w.txt"
    file.write_text("0 1\n1 9\n")
    options = {**SMALL, "batch_size": 8, "class_weights": str(file), "checkpoint_minutes": 1e-9, "preflight": "off"}
    with killed_at(2):
        stkd.train("cnn2", unequal, out=tmp_path / "run", **options)
    file.write_text("0 1\n1 8\n")
    with pytest.raises(
        stkd.StkdError, match="the file of class weights changed since this run was started; bring it b"
    ):
        stkd.train("cnn2", unequal, out=tmp_path / "run", **options)
    file.write_text("0 1\n1 9\n")
    assert stkd.train("cnn2", unequal, out=tmp_path / "run", **options).fresh


def test_a_method_without_labels_is_warned_of(
    teacher_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = {**SMALL, "train_images": 64, "class_weights": "balanced"}
    stkd.distill(str(teacher_run), "cnn2", "digits", "fm", out=tmp_path / "run", **options)
    assert any("class_weights changes nothing: the method fm" in message for message in caplog.messages)
