"""CRD: contrastive representation distillation, with its memories and negatives."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .logits import at_least_float32

__all__ = ["CRDMemory", "CRDNegatives", "crd"]

EPS = 1e-7


def crd(student_scores: Tensor, teacher_scores: Tensor, *, num_samples: int) -> Tensor:
    """Noise-contrastive estimation in both directions, sum over the negatives, mean over the batch.

    A score is exp(<a, b> / T) / Z; the positive pair is in column 0, the K negatives follow. Each direction is
    -log h(positive) - sum log(1 - h(negative)), where h(x) = x / (x + K / N).

    Args:
        student_scores: (B, 1 + K), the student's embedding against the teacher's memory.
        teacher_scores: (B, 1 + K), the other way round.
        num_samples: N, the samples of the training set; the noise is uniform over them.

    Returns:
        Scalar.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[2.0, 0.1, 0.1], [1.0, 0.2, 0.1]])  # (B, 1 + K), the positive pair first
        >>> round(crd(scores, scores, num_samples=100).item(), 3)
        7.803

    Source: Tian et al., Contrastive Representation Distillation, ICLR 2020, section 3.1, and its implementation
    notes for the memory and NCE.
    """
    return _nce(at_least_float32(student_scores), num_samples) + _nce(at_least_float32(teacher_scores), num_samples)


def _nce(scores: Tensor, num_samples: int) -> Tensor:
    noise = (scores.shape[1] - 1) / num_samples
    positive, negatives = scores[:, 0], scores[:, 1:]
    log_positive = (positive / (positive + noise + EPS)).log()
    log_negatives = (noise / (negatives + noise + EPS)).log()
    return -(log_positive + log_negatives.sum(1)).mean()


class CRDMemory(nn.Module):
    """Linear embeddings of student and teacher, and a memory of both embeddings for every training sample.

    The normalizers Z are set by the first batch and stay. In training mode a forward pass moves the memories of its
    samples; a sample that is in the batch twice is moved by one of the two.

    Args:
        student_dim: D of the student's features.
        teacher_dim: D of the teacher's.
        num_samples: N, the samples of the training set.
        dim: D of the embeddings.
        temperature: T of the scores.
        momentum: Share of the old embedding that a memory keeps.
    """

    student_bank: Tensor
    teacher_bank: Tensor
    student_z: Tensor
    teacher_z: Tensor

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        num_samples: int,
        dim: int = 128,
        temperature: float = 0.07,
        momentum: float = 0.5,
    ) -> None:
        super().__init__()
        self.temperature = temperature
        self.momentum = momentum
        self.student_embedding = nn.Linear(student_dim, dim)
        self.teacher_embedding = nn.Linear(teacher_dim, dim)
        bound = 1 / math.sqrt(dim / 3)
        self.register_buffer("student_bank", torch.empty(num_samples, dim).uniform_(-bound, bound))
        self.register_buffer("teacher_bank", torch.empty(num_samples, dim).uniform_(-bound, bound))
        # 0 says "not set yet"; a flag in Python would not survive a checkpoint.
        self.register_buffer("student_z", torch.zeros(()))
        self.register_buffer("teacher_z", torch.zeros(()))

    def forward(self, student_features: Tensor, teacher_features: Tensor, contrast: Tensor) -> Tensor:
        """The CRD loss; moves the memories in training mode.

        Args:
            student_features: (B, D), or maps, which are flattened.
            teacher_features: (B, D) of the teacher, likewise.
            contrast: (B, 1 + K) int64, indices into the training set: the sample itself, then its negatives.

        Returns:
            Scalar.
        """
        student = F.normalize(self.student_embedding(student_features.flatten(1)).to(self.student_bank.dtype), dim=1)
        teacher = F.normalize(self.teacher_embedding(teacher_features.flatten(1)).to(self.teacher_bank.dtype), dim=1)
        student_scores = self._scores(student, self.teacher_bank, contrast, self.student_z)
        teacher_scores = self._scores(teacher, self.student_bank, contrast, self.teacher_z)
        if self.training:
            self._move(self.student_bank, student, contrast[:, 0])
            self._move(self.teacher_bank, teacher, contrast[:, 0])
        return crd(student_scores, teacher_scores, num_samples=len(self.student_bank))

    def _scores(self, embedding: Tensor, bank: Tensor, contrast: Tensor, z: Tensor) -> Tensor:
        similarity = torch.einsum("bkd,bd->bk", bank[contrast], embedding)
        scores = (similarity / self.temperature).exp()
        with torch.no_grad():
            z.copy_(torch.where(z > 0, z, scores.mean() * len(bank)))
        return scores / z.clone()

    @torch.no_grad()
    def _move(self, bank: Tensor, embedding: Tensor, index: Tensor) -> None:
        moved = self.momentum * bank[index] + (1 - self.momentum) * embedding
        bank[index] = F.normalize(moved, dim=1)


class CRDNegatives(nn.Module):
    """Draws, for each sample, K negatives of other classes from the training set, with replacement.

    Args:
        labels: (N,) int64, the hard labels of the training set; two classes or more.
        num_negatives: K.

    Source: the CRD benchmark's sampling by class, which draws without replacement where it can.
    """

    labels: Tensor
    by_class: Tensor
    first: Tensor
    count: Tensor

    def __init__(self, labels: Tensor, num_negatives: int = 16384) -> None:
        super().__init__()
        self.num_negatives = num_negatives
        count = labels.bincount()
        self.register_buffer("labels", labels, persistent=False)
        self.register_buffer("by_class", labels.argsort(stable=True), persistent=False)
        self.register_buffer("first", count.cumsum(0) - count, persistent=False)
        self.register_buffer("count", count, persistent=False)

    def forward(self, index: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Contrast indices for `CRDMemory`.

        Args:
            index: (B,) int64, the samples of the batch.
            generator: Source of randomness, on the device of `index`.

        Returns:
            (B, 1 + K) int64: the sample itself, then its negatives.
        """
        label = self.labels[index, None]
        first, count = self.first[label], self.count[label]
        shape = (len(index), self.num_negatives)
        draw = torch.rand(shape, generator=generator, dtype=torch.float64, device=index.device)
        # Sorted by class, the negatives are the places before and after the own class: number them, then jump over it.
        place = (draw * (len(self.labels) - count)).long()
        place = place + count * (place >= first)
        return torch.cat([index[:, None], self.by_class[place]], dim=1)
