"""RLD, LDRLD and SKD against their definitions, written out sample by sample."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stkd import losses
from stkd.methods import parse

G = torch.Generator().manual_seed(3)
STUDENT, TEACHER = (3 * torch.randn(6, 9, generator=G, dtype=torch.float64) for _ in range(2))
LABELS = torch.tensor([0, 4, 4, 8, 2, 1])


def kl(teacher: Tensor, student: Tensor) -> float:
    """KL of two distributions."""
    return float((teacher * (teacher / student).log()).sum())


def bernoulli(p: float) -> Tensor:
    return torch.tensor([p, 1 - p], dtype=torch.float64)


@pytest.mark.parametrize("tau", [1.0, 4.0])
def test_rld_is_its_definition(tau: float) -> None:
    total = 0.0
    for s, t, y in zip(STUDENT, TEACHER, LABELS.tolist(), strict=True):
        confident = float((t / tau).softmax(0).max())
        total += tau**2 * kl(bernoulli(confident), bernoulli(float((s / tau).softmax(0)[y])))
        below = t < t[y]
        if below.any():
            total += 8 * 16 * kl((t[below] / 4).softmax(0), (s[below] / 4).softmax(0))
    found = losses.rld(STUDENT, TEACHER, LABELS, confidence_temperature=tau)
    assert float(found) == pytest.approx(total / 6, rel=1e-9)


def test_rld_is_dkd_where_the_teacher_is_right() -> None:
    right = TEACHER.argmax(1)
    one = losses.rld(STUDENT, TEACHER, right, confidence_temperature=4.0)
    torch.testing.assert_close(one, losses.dkd(STUDENT, TEACHER, right, alpha=1, beta=8))


def test_rld_does_not_look_at_masked_classes_and_survives_a_teacher_that_masks_all() -> None:
    labels = TEACHER.argmin(1)  # the teacher puts the true class last
    student = STUDENT.clone().requires_grad_()
    losses.rld(student, TEACHER, labels, alpha=0.0).backward()
    assert student.grad is not None
    assert student.grad.abs().max() == 0
    above = TEACHER.gather(1, LABELS[:, None]) < TEACHER
    moved = torch.where(above, STUDENT + 5, STUDENT)
    pair = [losses.rld(s, TEACHER, LABELS, alpha=0.0) for s in (STUDENT, moved)]
    torch.testing.assert_close(*pair)
    extreme = losses.rld(1e4 * STUDENT, TEACHER, LABELS)
    assert extreme.isfinite()


@pytest.mark.parametrize("top", [1, 2, 7, 9, 20])
def test_ldrld_is_its_definition(top: int) -> None:
    total, k = 0.0, min(top, 9)
    for s, t in zip(STUDENT / 4, TEACHER / 4, strict=True):
        first = s.argsort(descending=True)[:k]
        local = kl(t[first].softmax(0), s[first].softmax(0))
        for a in range(k):
            for b in range(a + 1, k):
                pair = first[[a, b]]
                omega = 2 * math.exp(-0.05 * (a + b + 2)) / (1.5 + b - a)
                local += omega * kl(t[pair].softmax(0), s[pair].softmax(0))
        total += 10.5 * local / (k * (k - 1) / 2 + 1)
        rest = torch.ones(9, dtype=torch.bool)
        rest[first] = False
        if rest.any():
            total += 7 * kl(t[rest].softmax(0), s[rest].softmax(0))
    assert float(losses.ldrld(STUDENT, TEACHER, top=top)) == pytest.approx(16 * total / 6, rel=1e-9)


def test_omega_is_the_published_one() -> None:
    """For k = 7 the 21 weights run from 0.179 to 0.689 and sum to 7.724."""
    weights = [2 * math.exp(-0.05 * (a + b)) / (1.5 + b - a) for a in range(1, 8) for b in range(a + 1, 8)]
    assert (round(min(weights), 3), round(max(weights), 3), round(sum(weights), 3)) == (0.179, 0.689, 7.724)


@pytest.mark.parametrize("divide", [True, False])
def test_skd_is_its_definition(divide: bool) -> None:
    u, v = F.normalize(STUDENT), F.normalize(TEACHER)
    errors = (u @ u.T - v @ v.T) / (9 if divide else 1)
    inverse = torch.linalg.inv(torch.cov(errors.T) + 0.1 * torch.eye(6, dtype=torch.float64))
    expected = sum(float((d @ inverse @ d).sqrt()) for d in errors) / 6
    found = losses.skd_direction(STUDENT, TEACHER, divide_by_classes=divide)
    assert float(found) == pytest.approx(expected, rel=1e-9)


def test_skd_looks_at_directions_alone() -> None:
    scales = torch.rand(6, 1, generator=G, dtype=torch.float64) + 0.5
    value = losses.skd_direction(STUDENT, TEACHER)
    torch.testing.assert_close(losses.skd_direction(scales * STUDENT, TEACHER), value)
    assert losses.skd_direction(STUDENT + 1, TEACHER) != value
    assert losses.skd_direction(STUDENT[:1], TEACHER[:1]) == pytest.approx(
        0, abs=1e-12
    )  # one sample is as similar to itself as any other
    large = math.sqrt(1e6) * losses.skd_direction(STUDENT, TEACHER, ridge=1e6, divide_by_classes=False)
    errors = F.normalize(STUDENT) @ F.normalize(STUDENT).T - F.normalize(TEACHER) @ F.normalize(TEACHER).T
    torch.testing.assert_close(large, errors.norm(dim=1).mean(), rtol=1e-5, atol=0)


def test_methods_have_their_papers_weights() -> None:
    assert parse("rld").label_weight == parse("ldrld").label_weight == 1
    assert parse("skd").label_weight == pytest.approx(0.1)
    assert parse("skd:weight=0.5,ce=0.5").label_weight == 0.5
