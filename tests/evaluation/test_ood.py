from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from stkd.core.errors import StkdError
from stkd.data import DataSet, Split, open_data
from stkd.evaluation import foreign_logits, ood_scores

CPU = torch.device("cpu")


def test_auroc_is_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    known, foreign = 3 * torch.randn(300, 5, generator=generator), torch.randn(200, 5, generator=generator)
    sure = torch.cat([known, foreign]).double().softmax(1).amax(1)
    values = ood_scores(known, foreign)
    assert values["auroc"] == pytest.approx(roc_auc_score([1] * 300 + [0] * 200, sure), abs=1e-6)
    assert values["mean_confidence"] == pytest.approx(float(sure[:300].mean()))
    assert values["foreign_confidence"] == pytest.approx(float(sure[300:].mean()))
    assert ood_scores(known, known)["auroc"] == pytest.approx(0.5)


def test_histograms_are_numpys() -> None:
    generator = torch.Generator().manual_seed(0)
    known, foreign = 5 * torch.randn(300, 5, generator=generator), torch.randn(200, 5, generator=generator)
    known[0, 0] = 1e4  # a confidence of exactly 1
    values = ood_scores(known, foreign)
    for logits, name in ((known, "histogram"), (foreign, "foreign_histogram")):
        counts, _ = np.histogram(logits.double().softmax(1).amax(1), 20, (0, 1))
        assert values[name] == pytest.approx(list(counts / len(logits)))


def test_foreign_images_are_brought_to_the_models_input() -> None:
    data = open_data("digits")
    pixels = np.full((4, 3, 16, 16), 51, np.uint8)
    pixels[:, 1:] = 102
    split = Split(pixels, np.array([-1, 0, 1, 0]))
    foreign = DataSet("colour", ("a", "b"), 3, 16, (0.1,) * 3, (0.7,) * 3, "none", split, None, None, "other")
    seen: list[torch.Tensor] = []

    def model(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        return torch.zeros(len(images), 10)

    assert foreign_logits(model, foreign, data, device=CPU).shape == (4, 10)
    assert seen[0].shape == (4, 1, 8, 8)
    assert torch.allclose(seen[0], torch.tensor((1 / 3 - data.mean[0]) / data.std[0]), atol=1e-5)


def test_own_data_are_not_foreign() -> None:
    data = open_data("digits")
    with pytest.raises(StkdError, match="digits is the data that the model was made for"):
        foreign_logits(lambda x: x, data, data, device=CPU)
