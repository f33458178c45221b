from __future__ import annotations

import pytest
import torch
from scipy import stats

from stkd.evaluation import class_similarity, correlation, most_similar_pairs, similarity_correlation


def answers(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(200, 5, generator=generator), torch.arange(200) % 5


def test_rows_are_mean_softened_probabilities() -> None:
    logits, labels = answers()
    values = class_similarity(logits, labels, temperature=2)
    for label in range(5):
        expected = (logits[labels == label].double() / 2).softmax(1).mean(0)
        assert torch.allclose(values[label], expected)
    assert torch.allclose(values.sum(1), torch.ones(5, dtype=torch.float64))


def test_high_temperature_is_uniform() -> None:
    assert torch.allclose(class_similarity(*answers(), temperature=1e9), torch.full((5, 5), 0.2).double())


def test_correlation_of_off_diagonal_entries_is_scipys() -> None:
    one, other = class_similarity(*answers(0)), class_similarity(*answers(1))
    off = [(i, j) for i in range(5) for j in range(5) if i != j]
    a, b = [float(one[p]) for p in off], [float(other[p]) for p in off]
    values = similarity_correlation(one, other)
    assert values["pearson"] == pytest.approx(stats.pearsonr(a, b)[0])
    assert values["spearman"] == pytest.approx(stats.spearmanr(a, b)[0])
    other.fill_diagonal_(9)
    assert similarity_correlation(one, other) == values
    assert similarity_correlation(one, one) == {"pearson": pytest.approx(1), "spearman": pytest.approx(1)}


def test_classes_without_images_are_left_out() -> None:
    logits, labels = answers()
    some = labels != 3
    one, other = class_similarity(logits[some], labels[some]), class_similarity(*answers(1))
    assert one[3].isnan().all()
    keep = torch.tensor([0, 1, 2, 4])
    off = ~torch.eye(5, dtype=torch.bool)[keep]
    assert similarity_correlation(one, other) == correlation(one[keep][off], other[keep][off])


def test_no_correlation_of_constants() -> None:
    assert correlation(torch.ones(4), torch.arange(4.0)) == {"pearson": None, "spearman": None}
    assert correlation(torch.ones(1), torch.ones(1)) == {"pearson": None, "spearman": None}


def test_most_similar_pairs() -> None:
    similarity = torch.tensor([[0.7, 0.1, 0.2], [0.05, 0.9, 0.05], [0.3, 0.0, 0.7]])
    assert most_similar_pairs(similarity, 2) == [(0, 2), (0, 1)]
    assert most_similar_pairs(similarity, 99) == [(0, 2), (0, 1), (1, 2)]
