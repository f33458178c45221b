from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stkd.core.errors import StkdError
from stkd.evaluation import along_lambda, draw_pairs


def model(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 4), nn.Tanh(), nn.Linear(4, 6)).eval().requires_grad_(False)


def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 30, 3, 2, 2, generator=generator)
    return one, other


def test_pairs_are_of_different_classes_and_repeatable() -> None:
    labels = torch.arange(100) % 4
    pairs = draw_pairs(labels, 50)
    assert pairs.shape == (50, 2)
    assert (labels[pairs[:, 0]] != labels[pairs[:, 1]]).all()
    assert torch.equal(pairs, draw_pairs(labels, 50))
    assert not torch.equal(pairs, draw_pairs(labels, 50, seed=1))
    with pytest.raises(StkdError, match="at least two classes"):
        draw_pairs(torch.zeros(5, dtype=torch.int64), 3)


def test_answers_along_lambda() -> None:
    teacher, student = model(0), model(1)
    first, second = images()
    answers = along_lambda(teacher, student, first, second, lambdas=(0, 0.5, 1), temperature=2, batch_size=7)
    for i, weight in enumerate((0, 0.5, 1)):
        mixed = (1 - weight) * first + weight * second
        p, q = (teacher(mixed) / 2).softmax(1), (student(mixed) / 2).softmax(1)
        assert torch.allclose(answers.teacher[i], p, atol=1e-6)
        assert torch.allclose(answers.student[i], q, atol=1e-6)
        assert answers.kl[i] == pytest.approx(float(F.kl_div(q.log(), p, reduction="batchmean")), abs=1e-6)
        assert answers.agreement[i] == pytest.approx(float((p.argmax(1) == q.argmax(1)).float().mean()))
    one, other = answers.mean_distributions(torch.tensor([0, 3]))
    assert torch.allclose(one, answers.teacher[:, [0, 3]].mean(1))
    assert torch.allclose(other.sum(1), torch.ones(3))


def test_a_model_agrees_with_itself() -> None:
    first, second = images()
    answers = along_lambda(model(0), model(0), first, second)
    assert answers.kl == pytest.approx((0,) * 5, abs=1e-6)
    assert answers.agreement == (1,) * 5
    for entry in answers.correlation(torch.tensor([[0, 1]]).expand(30, 2)):
        assert entry == {"pearson": pytest.approx(1), "spearman": pytest.approx(1)}


def test_correlation_leaves_out_the_mixed_classes() -> None:
    first, second = images()
    answers = along_lambda(model(0), model(1), first, second)
    labels = torch.tensor([[2, 4]]).expand(30, 2)
    before = answers.correlation(labels)
    answers.teacher[:, :, [2, 4]] = 7
    assert answers.correlation(labels) == before
