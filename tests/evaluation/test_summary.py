from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from stkd import models
from stkd.data import DataSet, Split, open_data
from stkd.evaluation import evaluate, fit_temperature, logits_of
from stkd.evaluation.summary import _first_classes, _plain
from stkd.evaluation.transfer import similarity_to_teacher

CPU = torch.device("cpu")


def digits(val_fraction: float = 0.0) -> DataSet:
    return open_data("digits", val_fraction=val_fraction)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return models.create("cnn2", num_classes=10, in_channels=1).eval()


def test_everything_is_plain_json() -> None:
    data = digits()
    assert data.test is not None
    few = replace(data, test=Split(data.test.images[:60], data.test.labels[:60]))
    foreign = replace(data, name="others", test=Split(255 - data.test.images[60:90], data.test.labels[60:90]))  # type: ignore[operator]
    measured = evaluate(network(0), few, teacher=network(1), alone=network(2), corrupted=True, foreign=foreign)
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured
    assert measured["teacher"].keys() >= {
        "top1",
        "params",
        "calibration",
        "confusion",
        "latency_ms_64",
        "peak_bytes_64",
    }
    assert measured["teacher"]["top1"] == measured["teacher_top1"]
    assert measured["similarity"].keys() == {"temperature", "model", "teacher", "pearson", "spearman"}
    assert measured["virtual"]["lambdas"] == [0, 0.25, 0.5, 0.75, 1]
    assert all(len(measured["virtual"][name]) == 5 for name in ("kl", "agreement", "pearson", "spearman"))
    assert measured["robustness"].keys() == {"model", "teacher", "alone"}
    assert measured["ood"].keys() == {"data", "images", "model", "teacher", "alone"}
    assert measured["ood"]["images"] == 30
    change = np.subtract(measured["class_accuracy"], measured["alone"]["class_accuracy"])
    assert measured["alone"]["class_change"] == pytest.approx(list(change))


def test_a_teacher_agrees_with_itself() -> None:
    model = network(0)
    measured = evaluate(model, digits(), teacher=model)
    assert measured["similarity"]["pearson"] == pytest.approx(1)
    assert measured["virtual"]["kl"] == pytest.approx([0] * 5, abs=1e-6)
    assert measured["virtual"]["agreement"] == [1] * 5
    for pair in measured["virtual"]["pairs"]:
        assert np.allclose(pair["teacher"], pair["student"])
        assert np.allclose(np.sum(pair["teacher"], axis=1), 1)


def test_a_plain_function_as_teacher_has_no_costs() -> None:
    model = network(1)
    measured = evaluate(network(0), digits(), teacher=lambda images: model(images))
    assert "params" not in measured["teacher"]
    assert "top1" in measured["teacher"]
    assert "alone" not in measured
    assert "robustness" not in measured


def test_temperature_is_fitted_on_the_validation_split() -> None:
    data, model = digits(val_fraction=0.2), network(0)
    assert data.val is not None
    on_val = fit_temperature(*logits_of(model, data.val, data, device=CPU))
    measured = evaluate(model, data)["calibration"]
    assert (measured["fitted_on"], measured["temperatures"]) == ("held-out images", [on_val])
    of_val = evaluate(model, data, split="val")["calibration"]
    assert of_val["fitted_on"] == "halves"
    assert len(of_val["temperatures"]) == 2


def test_classes_without_images_are_null() -> None:
    data = digits()
    assert data.test is not None
    some = data.test.labels < 9
    few = replace(data, test=Split(data.test.images[some], data.test.labels[some]))  # type: ignore[index]
    measured = evaluate(network(0), few, teacher=network(1))
    assert measured["class_accuracy"][9] is None
    assert measured["similarity"]["teacher"][9] == [None] * 10
    assert measured["similarity"]["pearson"] is not None


def test_images_of_one_class_have_no_pairs_to_mix() -> None:
    data = digits()
    assert data.test is not None
    some = data.test.labels == 3
    one = replace(data, test=Split(data.test.images[some], data.test.labels[some]))  # type: ignore[index]
    measured = evaluate(network(0), one, teacher=network(1))
    assert "virtual" not in measured
    assert measured["images"] == int(some.sum())


def test_a_model_without_teacher_has_its_own_similarity_alone() -> None:
    measured = evaluate(network(0), digits())
    assert measured["similarity"].keys() == {"temperature", "model"}
    assert np.shape(measured["similarity"]["model"]) == (10, 10)
    assert "examples" not in measured


def test_matrices_of_very_many_classes_are_cut_or_left_out() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(2, 400, 300, generator=generator), torch.arange(400) % 300
    similarity = similarity_to_teacher(logits[0], logits[1], labels)
    cut = _first_classes(similarity)
    assert torch.equal(cut["model"], similarity["model"][:256, :256])
    assert cut["pearson"] == similarity["pearson"]  # over all classes
    assert _plain({"matrix": torch.zeros(300, 300), "row": torch.zeros(300), **cut}).keys() == {"row", *cut}
