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
    found = evaluate(network(0), few, teacher=network(1), alone=network(2), corrupted=True, foreign=foreign)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["teacher"].keys() >= {"top1", "params", "calibration", "confusion", "latency_ms_64", "peak_bytes_64"}
    assert found["teacher"]["top1"] == found["teacher_top1"]
    assert found["similarity"].keys() == {"temperature", "model", "teacher", "pearson", "spearman"}
    assert found["virtual"]["lambdas"] == [0, 0.25, 0.5, 0.75, 1]
    assert all(len(found["virtual"][name]) == 5 for name in ("kl", "agreement", "pearson", "spearman"))
    assert found["robustness"].keys() == {"model", "teacher", "alone"}
    assert found["ood"].keys() == {"data", "images", "model", "teacher", "alone"}
    assert found["ood"]["images"] == 30
    change = np.subtract(found["class_accuracy"], found["alone"]["class_accuracy"])
    assert found["alone"]["class_change"] == pytest.approx(list(change))


def test_a_teacher_agrees_with_itself() -> None:
    model = network(0)
    found = evaluate(model, digits(), teacher=model)
    assert found["similarity"]["pearson"] == pytest.approx(1)
    assert found["virtual"]["kl"] == pytest.approx([0] * 5, abs=1e-6)
    assert found["virtual"]["agreement"] == [1] * 5
    for pair in found["virtual"]["pairs"]:
        assert np.allclose(pair["teacher"], pair["student"])
        assert np.allclose(np.sum(pair["teacher"], axis=1), 1)


def test_a_plain_function_as_teacher_has_no_costs() -> None:
    model = network(1)
    found = evaluate(network(0), digits(), teacher=lambda images: model(images))
    assert "params" not in found["teacher"]
    assert "top1" in found["teacher"]
    assert "alone" not in found
    assert "robustness" not in found


def test_temperature_is_fitted_on_the_validation_split() -> None:
    data, model = digits(val_fraction=0.2), network(0)
    assert data.val is not None
    on_val = fit_temperature(*logits_of(model, data.val, data, device=CPU))
    found = evaluate(model, data)["calibration"]
    assert (found["fitted_on"], found["temperatures"]) == ("held-out images", [on_val])
    of_val = evaluate(model, data, split="val")["calibration"]
    assert of_val["fitted_on"] == "halves"
    assert len(of_val["temperatures"]) == 2


def test_classes_without_images_are_null() -> None:
    data = digits()
    assert data.test is not None
    some = data.test.labels < 9
    few = replace(data, test=Split(data.test.images[some], data.test.labels[some]))  # type: ignore[index]
    found = evaluate(network(0), few, teacher=network(1))
    assert found["class_accuracy"][9] is None
    assert found["similarity"]["teacher"][9] == [None] * 10
    assert found["similarity"]["pearson"] is not None


def test_matrices_of_very_many_classes_are_left_out() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(2, 400, 300, generator=generator), torch.arange(400) % 300
    assert similarity_to_teacher(logits[0], logits[1], labels)["model"].shape == (300, 300)
    from stkd.evaluation.summary import _plain

    assert _plain({"matrix": torch.zeros(300, 300), "row": torch.zeros(300)}).keys() == {"row"}
