"""CC: correlation congruence, as the CRD benchmark has it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .features import Features, pairs, same_channels

__all__ = ["CCEmbedding", "cc"]


def cc(student_features: Features, teacher_features: Features) -> Tensor:
    """Correlation of the errors d = |f_s - f_t| of neighbours in the batch, mean_i <d_i, d_i+1>, sum over the layers.

    It depends on the order of the batch, which is random; a batch of one gives 0.

    Args:
        student_features: (B, D), embedded, or a list.
        teacher_features: The same shapes.

    Returns:
        Scalar.

    Raises:
        StkdError: The shapes do not fit.

    Example:
        >>> import torch
        >>> student = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])  # (B, D)
        >>> teacher = torch.tensor([[2.0, 0.0], [1.0, 1.0], [1.0, 3.0]])
        >>> round(cc(student, teacher).item(), 3)
        0.5

    Source: Peng et al., Correlation Congruence for Knowledge Distillation, ICCV 2019, in the form that the CRD
    benchmark (Tian et al., ICLR 2020) compares with, which differs from the paper's kernel.
    """
    return torch.stack([_layer(s, t) for s, t in pairs(student_features, teacher_features, ndim=2)]).sum()


def _layer(student: Tensor, teacher: Tensor) -> Tensor:
    same_channels(student, teacher)
    error = (student - teacher).abs()
    return (error[:-1] * error[1:]).sum() / max(len(error) - 1, 1)


class CCEmbedding(nn.Module):
    """Linear embeddings of student and teacher into one space.

    Args:
        student_dim: D of the student's features.
        teacher_dim: D of the teacher's.
        dim: D of the embeddings.
    """

    def __init__(self, student_dim: int, teacher_dim: int, dim: int = 128) -> None:
        super().__init__()
        self.student = nn.Linear(student_dim, dim)
        self.teacher = nn.Linear(teacher_dim, dim)

    def forward(self, student_features: Tensor, teacher_features: Tensor) -> tuple[Tensor, Tensor]:
        """Embed pooled features (B, D); maps are flattened."""
        return self.student(student_features.flatten(1)), self.teacher(teacher_features.flatten(1))
