"""A probe is the logistic regression that scikit-learn would fit, on the features before a model's classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from stkd import models
from stkd.core.errors import StkdError
from stkd.data import UNLABELLED, open_data
from stkd.evaluation.pooled import pooled_features
from stkd.evaluation.probe import Probe, fit_probe
from stkd.models.heads import head_names, set_head


def drawn(classes: int, images: int = 90, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features of classes that lie apart, in other units than 1."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(images) % classes)
    centres = rng.normal(size=(classes, 6))
    features = (centres[labels] + rng.normal(size=(images, 6))) * [1, 10, 0.1, 1, 1, 0] + 3
    return features.astype(np.float32), labels.astype(np.int64)


def names(classes: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(classes))


def answers(probe: Probe, features: NDArray[np.float32]) -> NDArray[np.float32]:
    logits = torch.from_numpy(features @ probe.weight.T + probe.bias)
    return logits.softmax(1).numpy()


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_it_answers_as_scikit_learn_does(classes: int) -> None:
    features, labels = drawn(classes)
    probe = fit_probe(features, labels, names(classes))
    assert probe.weight.shape == (classes, 6)
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=probe.strength, max_iter=1000))
    expected = plain.fit(features.astype(np.float64), labels).predict_proba(features)
    np.testing.assert_allclose(answers(probe, features), expected, atol=2e-3)


def test_it_is_the_same_each_time_and_tells_what_it_was_fitted_on() -> None:
    features, labels = drawn(3)
    probe, again = (fit_probe(features, labels, names(3)) for _ in range(2))
    assert np.array_equal(probe.weight, again.weight)
    assert np.array_equal(probe.bias, again.bias)
    assert (probe.images, probe.held_out) == (90, 18)
    assert 0.5 < probe.right <= 1


def test_the_penalty_is_strong_where_features_say_nothing() -> None:
    _, labels = drawn(3)
    noise = np.random.default_rng(1).normal(size=(90, 40)).astype(np.float32)
    features, _ = drawn(3)
    assert fit_probe(noise, labels, names(3)).strength < fit_probe(features, labels, names(3)).strength


def test_images_without_a_label_are_left_out() -> None:
    features, labels = drawn(3)
    more = np.concatenate([features, features + 100])
    probe = fit_probe(more, np.concatenate([labels, np.full(90, UNLABELLED)]), names(3))
    assert probe.images == 90
    assert np.array_equal(probe.weight, fit_probe(features, labels, names(3)).weight)


def test_one_image_a_class() -> None:
    probe = fit_probe(np.eye(3, dtype=np.float32), np.arange(3), names(3))
    assert (probe.images, probe.held_out) == (3, 0)
    assert answers(probe, np.eye(3, dtype=np.float32)).argmax(1).tolist() == [0, 1, 2]


def test_some_classes_of_one_image() -> None:
    features, labels = drawn(3, images=30)
    features, labels = np.append(features, features[:1] + 9, 0), np.append(labels, 3)
    assert fit_probe(features, labels, names(4)).held_out == 6


@pytest.mark.parametrize(("classes", "words"), [(4, "'class 3' has no labelled training image"), (1, "one class")])
def test_classes_that_cannot_be_told_apart(classes: int, words: str) -> None:
    features, labels = drawn(3)
    with pytest.raises(StkdError, match=words):
        fit_probe(features, labels if classes == 4 else np.zeros_like(labels), names(classes))


def test_features_are_those_before_the_classifier_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    data = open_data("digits", train_images=70)
    model = models.create("cnn4", num_classes=7, in_channels=1).eval()
    features, labels = pooled_features(model, data.train, data, key="test-pooled")
    assert features.shape == (70, models.classifier(model).in_features)
    assert np.array_equal(labels, data.train.labels)
    pixels = (torch.from_numpy(data.train.images / 255).float() - data.mean[0]) / data.std[0]
    with torch.no_grad():
        torch.testing.assert_close(model.fc(torch.from_numpy(features.copy())), model(pixels), atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(model, "forward", None)  # it is not asked again
    assert np.array_equal(pooled_features(model, data.train, data, key="test-pooled")[0], features)


def test_a_new_head_in_the_place_of_the_old_one(tmp_path: Path) -> None:
    model = models.create("timm/test_resnet", num_classes=5)
    weight, bias = torch.randn(3, models.classifier(model).in_features), torch.randn(3)
    images = torch.randn(2, 3, 32, 32)
    before = model.forward_features(images)
    set_head(model, weight, bias, images)
    assert model.num_classes == 3
    assert torch.equal(models.classifier(model).weight, weight)
    assert model(images).shape == (2, 3)
    assert torch.equal(model.forward_features(images), before)
    assert head_names(model) == ("fc.weight", "fc.bias")
    models.save(model, tmp_path / "x.safetensors")
    again = models.create("timm/test_resnet", num_classes=3)
    models.load(again, tmp_path / "x.safetensors")
    torch.testing.assert_close(again.state_dict(), model.state_dict())


class Scaled(nn.Module):
    """Does something with the logits of its last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.fc(x.mean((2, 3)))
        return 2 * logits


def test_a_model_whose_classifier_is_not_its_end_is_refused() -> None:
    with pytest.raises(StkdError, match="are not those of its last linear layer"):
        set_head(Scaled(), torch.randn(4, 3), torch.randn(4), torch.randn(2, 3, 8, 8))
    with pytest.raises(StkdError, match="has 3 features before its classifier, not 5"):
        set_head(Scaled(), torch.randn(4, 5), torch.randn(4), torch.randn(2, 3, 8, 8))
