from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch.nn import functional as F
from torchmetrics.classification import MulticlassCalibrationError

from stkd.evaluation import calibration_error, fit_temperature, reliability, scale_by_halves


def calibrated(count: int = 6000, classes: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits whose softmax is the very distribution that the labels are drawn from."""
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(count, classes, generator=generator)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("factor", [0.3, 1.0, 4.0])
def test_bins_give_the_calibration_error_of_torchmetrics(factor: float) -> None:
    logits, labels = calibrated()
    bins = reliability(factor * logits, labels)
    assert sum(b.count for b in bins) == len(labels)
    assert all(b.low < b.confidence <= b.high + 1e-6 for b in bins)
    by_hand = sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / len(labels)
    reference = float(MulticlassCalibrationError(6, n_bins=15, norm="l1")((factor * logits).softmax(1), labels))
    assert by_hand == pytest.approx(reference, abs=1e-5)
    assert calibration_error(factor * logits, labels) == pytest.approx(reference, abs=1e-6)


def test_sure_predictions_are_in_the_last_bin() -> None:
    bins = reliability(torch.tensor([[1000.0, 0.0], [1000.0, 0.0]]), torch.tensor([0, 1]))
    assert len(bins) == 1
    assert (bins[0].high, bins[0].confidence, bins[0].accuracy, bins[0].count) == (1.0, 1.0, 0.5, 2)


@pytest.mark.parametrize("factor", [0.25, 1.0, 5.0])
def test_temperature_undoes_what_made_the_logits_too_sharp(factor: float) -> None:
    logits, labels = calibrated()
    fitted = fit_temperature(factor * logits, labels)
    assert fitted == pytest.approx(factor, rel=0.1)
    exact = minimize(
        lambda t: float(F.cross_entropy(factor * logits.double() / float(t[0]), labels)), np.array([2.0]), tol=1e-10
    )
    assert fitted == pytest.approx(float(exact.x[0]), rel=1e-3)


def test_temperature_has_bounds_where_every_prediction_is_right() -> None:
    assert 0.02 <= fit_temperature(torch.eye(4), torch.arange(4)) < 0.1


def test_halves_are_scaled_by_each_other() -> None:
    logits, labels = calibrated(2001)
    scaled, (one, other) = scale_by_halves(3 * logits, labels)
    assert one == pytest.approx(3, rel=0.15)
    assert other == pytest.approx(3, rel=0.15)
    ratios = (3 * logits / scaled).median(1).values
    assert int(torch.isclose(ratios, torch.tensor(one)).sum()) in (1000, 1001)
    assert int(torch.isclose(ratios, torch.tensor(other)).sum()) in (1000, 1001)
    assert calibration_error(scaled, labels) < calibration_error(3 * logits, labels) / 3
    assert torch.equal(scaled.argmax(1), logits.argmax(1))


def test_a_label_does_not_change_its_own_scale() -> None:
    """The logits of an image are never scaled by a temperature that has seen its label."""
    logits, labels = calibrated(200)
    scaled, _ = scale_by_halves(logits, labels)
    for i in range(5):
        changed = labels.clone()
        changed[i] = (labels[i] + 1) % 6
        assert torch.equal(scale_by_halves(logits, changed)[0][i], scaled[i])
