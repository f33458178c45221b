"""Predictions of teacher and student between two images: virtual samples (1 - lambda) x_a + lambda x_b along lambda."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import StkdError
from .similarity import TEMPERATURE, correlation

__all__ = ["LAMBDAS", "AlongLambda", "along_lambda", "draw_pairs"]

LAMBDAS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Default weights of the second image."""


def draw_pairs(labels: Tensor, count: int, seed: int = 0) -> Tensor:
    """Pairs of images of different classes, drawn at random.

    Args:
        labels: int64 (N,).
        count: Number of pairs, at most.
        seed: Of the draw.

    Returns:
        int64 (P, 2), positions; P is `count`, or less where chance paired images of one class.

    Raises:
        StkdError: All images are of one class.
    """
    if labels.min() == labels.max():
        raise StkdError("virtual samples need images of at least two classes; give a split that has them")
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.randint(len(labels), (2 * count, 2), generator=generator)
    return pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]][:count]


@dataclass(frozen=True)
class AlongLambda:
    """Predictions of teacher and student for P virtual samples at each of L weights.

    Attributes:
        lambdas: Weights of the second image.
        teacher, student: Softened probabilities, float32 (L, P, C).
        kl: KL(teacher || student) in nats, mean over the samples, for each weight.
        agreement: Share of samples with the same most probable class, for each weight.
    """

    lambdas: tuple[float, ...]
    teacher: Tensor
    student: Tensor
    kl: tuple[float, ...]
    agreement: tuple[float, ...]

    def mean_distributions(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's and the student's mean distributions at each weight, over some of the samples.

        Args:
            pairs: bool (P,) or int64 positions, such as all samples between the same two classes.

        Returns:
            Two tensors (L, C).
        """
        return self.teacher[:, pairs].mean(1), self.student[:, pairs].mean(1)

    def correlation(self, labels: Tensor) -> list[dict[str, float | None]]:
        """Correlation of both models' probabilities of the classes that are in neither image, for each weight.

        Args:
            labels: int64 (P, 2), classes of both images.
        """
        others = torch.ones(self.teacher.shape[1:], dtype=torch.bool).scatter_(1, labels, False)
        return [correlation(t[others], s[others]) for t, s in zip(self.teacher, self.student, strict=True)]


@torch.no_grad()
def along_lambda(
    teacher: Callable[[Tensor], Tensor],
    student: Callable[[Tensor], Tensor],
    first: Tensor,
    second: Tensor,
    *,
    lambdas: Sequence[float] = LAMBDAS,
    temperature: float = TEMPERATURE,
    batch_size: int = 256,
) -> AlongLambda:
    """Show both models the same virtual samples (1 - lambda) first + lambda second.

    Args:
        teacher, student: From images to logits (B, C).
        first, second: Normalised images (P, C, H, W), on the models' device.
        lambdas: Weights of the second image.
        temperature: T of the softened probabilities and of their KL (which is not multiplied by T^2).
        batch_size: Virtual samples in a pass.
    """
    answers: dict[str, list[Tensor]] = {"teacher": [], "student": []}
    for weight in lambdas:
        rows: dict[str, list[Tensor]] = {"teacher": [], "student": []}
        for start in range(0, len(first), batch_size):
            some = slice(start, start + batch_size)
            mixed = torch.lerp(first[some], second[some], weight)
            for who, model in (("teacher", teacher), ("student", student)):
                rows[who].append((model(mixed).float() / temperature).log_softmax(1).cpu())
        for who, parts in rows.items():
            answers[who].append(torch.cat(parts))
    log_t, log_s = torch.stack(answers["teacher"]), torch.stack(answers["student"])
    kl = F.kl_div(log_s, log_t, log_target=True, reduction="none").sum(2).mean(1)
    agreement = (log_t.argmax(2) == log_s.argmax(2)).double().mean(1)
    return AlongLambda(tuple(lambdas), log_t.exp(), log_s.exp(), tuple(kl.tolist()), tuple(agreement.tolist()))
