from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score
from torch import nn

from stkd import models
from stkd.core.errors import StkdError
from stkd.data import DataSet, Split, open_data
from stkd.evaluation import evaluate, logits_of, score, scores


def predictions(count: int = 500, classes: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (count,), generator=generator)
    logits = torch.randn(count, classes, generator=generator) * 2
    logits[torch.arange(count), labels] += 1.5
    return logits, labels


def test_scores_are_those_of_scikit_learn() -> None:
    logits, labels = predictions()
    values = scores(logits, labels)
    probabilities = logits.double().softmax(1).numpy()
    assert values["top1"] == pytest.approx(accuracy_score(labels, logits.argmax(1)))
    assert values["top5"] == pytest.approx(top_k_accuracy_score(labels, probabilities, k=5))
    assert values["nll"] == pytest.approx(log_loss(labels, probabilities), rel=1e-5)


def test_calibration_error_by_hand() -> None:
    """15 equal bins of confidence, mean of |accuracy - confidence| weighted by the bins' sizes."""
    logits, labels = predictions()
    confidence, predicted = logits.softmax(1).max(1)
    hits = (predicted == labels).double()
    expected = 0.0
    for low in np.linspace(0, 1, 16)[:-1]:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            gap = abs(float(hits[inside].mean() - confidence[inside].double().mean()))
            expected += float(inside.double().mean()) * gap
    assert scores(logits, labels)["ece"] == pytest.approx(expected, abs=1e-5)


def test_agreement_counts_equal_answers_right_or_wrong() -> None:
    labels = torch.tensor([0, 1, 2, 0])
    student = torch.eye(3)[[0, 1, 1, 2]]
    teacher = torch.eye(3)[[0, 2, 1, 2]]
    values = scores(student, labels, teacher)
    assert values["agreement"] == 0.75
    assert values["teacher_top1"] == 0.25
    assert values["top1"] == 0.5


def test_few_classes_have_a_top5() -> None:
    logits, labels = predictions(classes=3)
    assert scores(logits, labels)["top5"] == 1.0


def test_score_gives_the_mode_back() -> None:
    data = open_data("digits")
    assert data.test is not None
    model = models.create("cnn2", num_classes=10, in_channels=1)
    for mode in (True, False):
        model.train(mode)
        values = score(model, data.test, data, device=torch.device("cpu"))
        assert model.training is mode
    logits, labels = logits_of(model.eval(), data.test, data, device=torch.device("cpu"))
    assert values["top1"] == pytest.approx(accuracy_score(labels, logits.argmax(1)))
    assert labels.tolist() == data.test.labels.tolist()


def test_everything_about_a_model() -> None:
    data = open_data("digits")
    model = models.create("cnn2", num_classes=10, in_channels=1)
    values = evaluate(model, data, teacher=model)
    assert {"top1", "top5", "nll", "ece", "params", "macs", "latency_ms_1", "latency_ms_64"} <= values.keys()
    assert values["agreement"] == 1.0
    assert values["teacher_top1"] == values["top1"]
    assert values["images"] == 500
    assert values["split"] == "test"
    assert values["latency_ms_1"] > 0


def test_unlabelled_split_is_refused() -> None:
    split = Split(np.zeros((2, 1, 8, 8), np.uint8), np.array([0, -1]))
    data = DataSet("loose", ("a", "b"), 1, 8, (0.5,), (0.5,), "none", split, None, split, "x")
    with pytest.raises(StkdError, match="not labelled"):
        evaluate(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), data)
    with pytest.raises(StkdError, match="has no val split; choose another with --split"):
        evaluate(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), data, split="val")
